// The drift score over time: one line a bundle, the threshold, and when a retraining was asked for.

import { shape } from "./elements.js";

const LEFT = 40;
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 24;

export function drawScores(holder, series, threshold, requests) {
  const draw = () => holder.replaceChildren(picture(holder.clientWidth || 600, holder.clientHeight || 240, series, threshold, requests));
  draw();
  new ResizeObserver(draw).observe(holder);
}

function picture(width, height, series, threshold, requests) {
  const points = series.flatMap((line) => line.points);
  const first = Math.min(...points.map((point) => point.time));
  const last = Math.max(...points.map((point) => point.time));
  const span = last - first || 1;
  const top = niceTop(Math.max(threshold * 2, ...points.map((point) => point.score)) * 1.05);
  const x = (time) => LEFT + ((time - first) / span) * (width - LEFT - RIGHT);
  const y = (score) => height - BOTTOM - (Math.min(score, top) / top) * (height - TOP - BOTTOM);
  const label = `Drift score over time; the newest is ${points.at(-1).score.toFixed(2)}, the threshold ${threshold}.`;
  return shape(
    "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    [0, 0.25, 0.5, 0.75, 1].map((part) => gridLine(top * part, top, y(top * part), width)),
    timeTicks(first, last, width, x, height),
    requests.filter((time) => time >= first && time <= last).map((time) =>
      shape("line", { class: "request", x1: x(time), x2: x(time), y1: TOP, y2: height - BOTTOM })),
    series.map((line) => drawLine(line, x, y)),
    shape("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: y(threshold), y2: y(threshold) }),
    shape("text", { class: "limit-name", x: LEFT + 6, y: y(threshold) - 6 }, `drift from ${threshold}`),
  );
}

function drawLine(line, x, y) {
  const path = line.points.map((point, index) => `${index ? "L" : "M"}${x(point.time).toFixed(1)} ${y(point.score).toFixed(1)}`).join("");
  const marked = line.points.length > 60 ? line.points.slice(-1) : line.points;
  return shape(
    "g", { class: line.color }, shape("path", { class: "series", d: path }),
    marked.map((point) => shape(
      "circle", { class: "point", r: point.drifted ? 4 : 3, cx: x(point.time), cy: y(point.score) },
      shape("title", {}, `${line.name}: ${point.score.toFixed(3)}, ${new Date(point.time * 1000).toLocaleString()}, ${point.rows} rows`),
    )),
  );
}

function gridLine(value, top, height, width) {
  return shape(
    "g", {}, shape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: height, y2: height }),
    shape("text", { x: LEFT - 8, y: height + 4, "text-anchor": "end" }, value.toFixed(top < 1 ? 2 : 1)),
  );
}

function timeTicks(first, last, width, x, height) {
  const count = Math.max(2, Math.min(6, Math.floor(width / 130)));
  const format = last - first > 172800 ? { month: "short", day: "numeric" }
    : last - first > 600 ? { hour: "2-digit", minute: "2-digit" }
    : { hour: "2-digit", minute: "2-digit", second: "2-digit" };
  return Array.from({ length: count }, (_, index) => {
    const time = first + ((last - first) * index) / (count - 1);
    const anchor = index === 0 ? "start" : index === count - 1 ? "end" : "middle";
    return shape("text", { x: x(time), y: height - 4, "text-anchor": anchor }, new Date(time * 1000).toLocaleString(undefined, format));
  });
}

function niceTop(value) {
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 8, 10].map((factor) => factor * step).find((candidate) => candidate >= value);
}
