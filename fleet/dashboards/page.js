// Polls the API and redraws what changed.

import { drawScores } from "./chart.js";
import { badge, element, empty, fold, refreshTimes, since, table } from "./elements.js";

const PERIOD = 3000;
const COLORS = ["c1", "c2", "c3", "c4", "c5", "c6"];
const SOURCES = {
  health: "/healthz", devices: "/api/v1/devices?limit=200", models: "/api/v1/models?limit=200",
  verdicts: "/api/v1/drift?limit=200", requests: "/api/v1/requests?limit=50",
};
const STATES = {
  committed: "good", activated: "warn", testing: "warn", staged: "warn", downloading: "warn",
  "rolling-back": "bad", failed: "bad", empty: "", sent: "good", pending: "warn", sending: "warn",
};
const VERDICTS = { drifted: "bad", stable: "good", insufficient: "warn" };
const WORDS = { drifted: "drifted", stable: "stable", insufficient: "too few rows" };
const shown = new Map();
const colors = new Map();
let answered = null;

async function read(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

async function refresh() {
  const alert = document.getElementById("alert");
  try {
    const parts = await Promise.all(Object.values(SOURCES).map(read));
    const data = Object.fromEntries(Object.keys(SOURCES).map((name, index) => [name, parts[index]]));
    answered = Date.now() / 1000;
    alert.hidden = true;
    show(data);
  } catch (error) {
    alert.textContent = `The server does not answer (${error.message}). What stands here may be old.`;
    alert.hidden = false;
  }
  refreshTimes();
  const freshness = document.getElementById("freshness");
  freshness.className = alert.hidden ? "freshness" : "freshness stale";
  freshness.replaceChildren(element("span", {}, alert.hidden ? "Live" : "Not live", answered ? [", updated ", since(answered)] : []));
}

function show(data) {
  const fleet = data.health.fleet;
  document.getElementById("fleet").textContent = fleet;
  document.title = `${fleet} · packtrain`;
  redraw("tiles", data, () => tiles(data));
  const current = currentVerdicts(data.verdicts.items, data.devices.items);
  redraw("drift", [data.verdicts, data.requests, current], () => driftCards(data.verdicts.items, data.requests.items, current));
  redraw("models", data.models, () => modelCards(data.models.items));
  redraw("devices", data.devices, () => deviceTable(data.devices));
  redraw("requests", data.requests, () => requestTable(data.requests.items));
}

function redraw(id, data, draw) {
  const text = JSON.stringify(data);
  if (shown.get(id) === text) return;
  shown.set(id, text);
  document.getElementById(id).replaceChildren(...[draw()].flat());
}

// The newest verdict of each bundle that a device runs: those of bundles that were replaced are history.
function currentVerdicts(verdicts, devices) {
  const used = new Set(devices.flatMap((device) => device.models).map((place) => place.active?.bundle));
  const newest = new Map();
  for (const verdict of verdicts) if (used.has(verdict.bundle) && !newest.has(verdict.bundle)) newest.set(verdict.bundle, verdict);
  return [...newest.values()];
}

// One colour for one bundle, in every picture of the page.
function colorOf(model, version, target) {
  const key = `${model} ${version} ${target}`;
  if (!colors.has(key)) colors.set(key, COLORS[colors.size % COLORS.length]);
  return colors.get(key);
}

function tiles({ devices, models, verdicts, requests }) {
  const online = devices.items.filter((device) => device.online).length;
  const total = `${devices.items.length}${devices.next ? "+" : ""}`;
  const placements = devices.items.flatMap((device) => device.models);
  const wanted = placements.filter((place) => place.assigned);
  const arrived = wanted.filter((place) => place.active?.version === place.assigned);
  const faults = placements.filter((place) => place.fault).length;
  const current = currentVerdicts(verdicts.items, devices.items);
  const drifted = current.filter((verdict) => verdict.verdict === "drifted");
  const open = requests.items.flatMap((request) => request.deliveries).filter((one) => one.state !== "sent");
  const unheard = requests.items.filter((request) => !request.deliveries.length).length;
  return [
    tile("Devices online", online, ` of ${total}`, devices.items.length ? `${models.items.length} ${plural(models.items.length, "model")}` : "none enrolled"),
    tile("On the assigned version", wanted.length ? arrived.length : "–", wanted.length ? ` of ${wanted.length}` : "",
      faults ? `${faults} with a fault` : "no faults", faults ? "bad-note" : ""),
    tile("Drift", drifted.length ? "Found" : current.length ? "None" : "–", "",
      drifted.length ? drifted.map((one) => `${one.model}:${one.version}`).filter(unique).join(", ") : current.length ? `${current.length} ${plural(current.length, "bundle")} watched` : "no verdict yet",
      drifted.length ? "bad" : current.length ? "good" : ""),
    tile("Retraining requests", requests.items.length, "", !requests.items.length ? "none asked for" : open.length ? `${open.length} not delivered` : unheard ? `${unheard} without a sink` : "all delivered", open.some((one) => one.state === "failed") ? "bad" : unheard ? "bad-note" : ""),
  ];
}

function unique(value, index, all) {
  return all.indexOf(value) === index;
}

function plural(count, noun) {
  return count === 1 ? noun : `${noun}s`;
}

function tile(name, value, small, note, kind = "") {
  return element(
    "li", { class: `tile ${kind}` }, element("span", { class: "tile-name" }, name),
    element("span", { class: "tile-value" }, String(value), element("small", {}, small)),
    element("span", { class: "tile-note" }, note),
  );
}

function driftCards(verdicts, requests, current) {
  if (!verdicts.length) {
    return empty("No verdict yet", "One is made when enough rows have come from a bundle that carries a baseline; how many is [drift] window_rows in", "fleet.toml");
  }
  const models = verdicts.map((verdict) => verdict.model).filter(unique).sort();
  return models.map((model) => {
    const of = (items) => items.filter((item) => item.model === model);
    return driftCard(model, of(verdicts), of(requests), of(current));
  });
}

function driftCard(model, verdicts, requests, current) {
  const shownVerdict = current.find((one) => one.verdict === "drifted") ?? current[0] ?? verdicts[0];
  const series = scoreLines(verdicts);
  const chart = element("div", { class: "chart" });
  if (series.length) drawScores(chart, series, verdicts[0].threshold, requests.map((request) => request.created));
  else chart.append(element("p", { class: "muted" }, "Too few rows for a score."));
  const moved = `${shownVerdict.moved} of ${shownVerdict.measured} ${plural(shownVerdict.measured, "feature")}`;
  return element(
    "article", { class: "card" },
    element("div", { class: "card-head" }, element("h3", {}, model),
      (current.length ? current : [verdicts[0]]).map((one) => badge(VERDICTS[one.verdict], `${one.version}@${one.target} ${WORDS[one.verdict]}`)),
      element("span", { class: "muted small" }, `last verdict on ${verdicts[0].rows} rows, `, since(verdicts[0].decided))),
    element("div", { class: "drift-body" },
      element("div", {}, element("h4", {}, "Score over time (PSI)"), chart, chartKey(series, requests)),
      element("div", {}, element("h4", {}, `What moved most in ${shownVerdict.version}@${shownVerdict.target}: ${moved}`), featureBars(shownVerdict))),
    fold(`drift ${model}`, "Verdicts and devices", verdictTable(verdicts.slice(0, 10))),
  );
}

function scoreLines(verdicts) {
  const lines = new Map();
  for (const one of [...verdicts].reverse()) {
    if (one.verdict === "insufficient") continue;
    const name = `${one.version}@${one.target}`;
    if (!lines.has(one.bundle)) lines.set(one.bundle, { name, color: colorOf(one.model, one.version, one.target), points: [] });
    lines.get(one.bundle).points.push({ time: one.decided, score: one.score, rows: one.rows, drifted: one.verdict === "drifted" });
  }
  return [...lines.values()];
}

function chartKey(series, requests) {
  return element(
    "ul", { class: "key" },
    series.map((line) => element("li", { class: line.color }, element("span", { class: "swatch" }), line.name)),
    requests.length ? element("li", {}, element("span", { class: "swatch dotted" }), "retraining asked for") : null,
  );
}

function featureBars(verdict) {
  const measures = [...verdict.features.slice(0, 7), ...(verdict.predictions ? [{ ...verdict.predictions, name: `${verdict.predictions.name} (predictions)` }] : [])];
  if (!measures.length) return element("p", { class: "muted" }, "Nothing was measured.");
  const most = Math.max(verdict.threshold, ...measures.map((one) => one.psi));
  return element("dl", { class: "bars" }, measures.flatMap((one) => {
    const fill = element("i", { class: one.psi >= verdict.threshold ? "over" : "" });
    fill.style.width = `${(100 * one.psi) / most}%`;
    return [
      element("dt", {}, one.name),
      element("dd", {}, element("span", { class: "bar" }, fill), element("span", { class: "number" }, one.psi.toFixed(2))),
    ];
  }));
}

function verdictTable(verdicts) {
  const rows = verdicts.map((one) => [
    `${one.version}@${one.target}`, since(one.decided), badge(VERDICTS[one.verdict], WORDS[one.verdict]),
    one.score.toFixed(3), String(one.rows),
    one.devices.slice(0, 3).map((device) => `${device.device} ${device.kind === "insufficient" ? "(too few rows)" : device.score.toFixed(2)}`).join(", "),
  ]);
  return element("div", { class: "scroll" }, table("Newest verdicts", ["Bundle", "When", "Verdict", "Score", "Rows", "Devices, the worst first"], rows));
}

function modelCards(models) {
  if (!models.length) return empty("No model yet", "Build one with pack, then publish it:", "pack-fleet publish MODEL:VERSION@TARGET");
  return models.map((model) => {
    const shares = model.versions.map((one) => {
      const part = element("span", { class: `share ${colorOf(model.name, one.version, one.target)}` });
      part.style.flexGrow = one.devices;
      return part;
    });
    const names = model.versions.map((one) => element(
      "li", { class: colorOf(model.name, one.version, one.target) }, element("span", { class: "swatch" }),
      `${one.version}@${one.target}: ${one.devices} ${plural(one.devices, "device")}`));
    const waiting = model.waiting ? element("li", {}, `${model.waiting} without an active version`) : null;
    const none = model.versions.length || model.waiting ? null : element("li", {}, "runs nowhere; assign it: ", element("code", {}, `pack-fleet assign ${model.name} --to all`));
    return element(
      "article", { class: "card" },
      element("div", { class: "card-head" }, element("h3", {}, model.name),
        element("span", { class: "muted small" }, model.newest ? `newest release ${model.newest}` : "not published here")),
      element("div", { class: "shares", "aria-hidden": "true" }, shares), element("ul", { class: "key" }, names, waiting, none),
    );
  });
}

function deviceTable(page) {
  if (!page.items.length) return empty("No device yet", "Enrol one, and copy what the command writes to it:", "pack-fleet enroll NAME");
  const rows = page.items.flatMap((device) => {
    const places = device.models.length ? device.models : [null];
    return places.map((place, index) => [
      index ? element("span", { class: "muted" }, device.name) : element("span", {}, device.name, deviceLabels(device)),
      badge(device.online ? "good" : "", device.online ? "online" : "offline"),
      since(device.seen),
      place ? place.model : element("span", { class: "muted" }, "nothing assigned has arrived"),
      place ? versionCell(place) : "–",
      place ? stateCell(place) : "–",
    ]);
  });
  return element(
    "div", { class: "card flush" }, table("Devices", ["Device", "Connection", "Last seen", "Model", "Version", "State"], rows),
    page.next ? element("p", { class: "more muted" }, `The first ${page.items.length} are shown. All of them: `, element("code", {}, "pack-fleet devices")) : null,
  );
}

function deviceLabels(device) {
  const texts = Object.entries(device.labels).map(([name, value]) => `${name}=${value}`);
  if (device.architecture) texts.push(device.architecture);
  return element("div", { class: "muted small" }, texts.map((text) => element("span", { class: "label" }, text)));
}

function versionCell(place) {
  const parts = [place.active ? `${place.active.version}@${place.active.target}` : "none"];
  const coming = place.next?.version ?? (place.assigned && place.assigned !== place.active?.version ? place.assigned : null);
  if (coming) parts.push(element("div", { class: "muted small" }, `${place.next ? "bringing in" : "assigned"} ${coming}`));
  return parts;
}

function stateCell(place) {
  const parts = [badge(STATES[place.state] ?? "", place.state)];
  if (place.fault) {
    parts.push(element("div", { class: "fault small" }, element("code", {}, place.fault.code)));
    parts.push(fold(`fault ${place.device} ${place.model}`, "Why", element("pre", {}, [place.fault.message, place.fault.hint].filter(Boolean).join("\n"))));
  }
  return parts;
}

function requestTable(requests) {
  if (!requests.length) return empty("No request yet", "One is made when a model drifts. Say who gets it with [[sinks]] in", "fleet.toml");
  const rows = requests.map((request) => [
    `${request.model}:${request.version}`, since(request.created), request.score.toFixed(2),
    request.deliveries.length ? request.deliveries.map((one) => delivery(request, one)) : element("span", { class: "muted" }, "no sink takes this model: add [[sinks]] to fleet.toml"),
  ]);
  return element("div", { class: "card flush" }, table("Retraining requests", ["For", "Asked", "Score", "Deliveries"], rows));
}

function delivery(request, one) {
  const tries = `${one.attempts} ${plural(one.attempts, "attempt")}`;
  return element(
    "div", { class: "delivery" }, one.sink, " ", badge(STATES[one.state] ?? "bad", one.state), " ",
    element("span", { class: "muted small" }, one.attempts ? `${tries}, ` : "", since(one.updated)),
    one.message ? fold(`delivery ${request.id} ${one.sink}`, "What it said", element("pre", {}, one.message)) : null,
  );
}

async function poll() {
  if (!document.hidden) await refresh();
  setTimeout(poll, PERIOD);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
poll();
