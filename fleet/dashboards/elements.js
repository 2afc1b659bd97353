// Elements, made so that text from devices can only ever be text: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";
const opened = new Set();

export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function shape(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export function badge(kind, text) {
  return element("span", { class: `badge ${kind}` }, text);
}

// Stays open over a refresh: `key` names it.
export function fold(key, title, ...children) {
  const node = element("details", {}, element("summary", {}, title), ...children);
  node.open = opened.has(key);
  node.addEventListener("toggle", () => (node.open ? opened.add(key) : opened.delete(key)));
  return node;
}

export function empty(title, text, command) {
  return element("p", { class: "empty" }, element("strong", {}, title), `${text} `, command ? element("code", {}, command) : null);
}

// Under 640 px each row is a card, and each cell is named by its column.
export function table(caption, columns, rows) {
  const head = element("tr", {}, columns.map((column) => element("th", { scope: "col" }, column)));
  const body = rows.map((cells) =>
    element("tr", {}, cells.map((cell, index) =>
      index === 0
        ? element("th", { scope: "row" }, cell)
        : element("td", { "data-name": columns[index] }, element("div", {}, cell)),
    )),
  );
  return element("table", { class: "stack", "aria-label": caption }, element("thead", {}, head), element("tbody", {}, body));
}

export function ago(seconds, now) {
  if (seconds === null) return "never";
  const age = Math.max(0, now - seconds);
  if (age < 5) return "now";
  if (age < 90) return `${Math.round(age)} s ago`;
  if (age < 5400) return `${Math.round(age / 60)} min ago`;
  if (age < 129600) return `${Math.round(age / 3600)} h ago`;
  return `${Math.round(age / 86400)} days ago`;
}

// Kept current by `refreshTimes`, without building its surroundings anew.
export function since(seconds) {
  const node = element("time", { "data-seconds": seconds ?? "" });
  if (seconds !== null) {
    const moment = new Date(seconds * 1000);
    node.dateTime = moment.toISOString();
    node.title = moment.toLocaleString();
  }
  node.textContent = ago(seconds, Date.now() / 1000);
  return node;
}

export function refreshTimes() {
  for (const node of document.querySelectorAll("time[data-seconds]")) {
    const seconds = node.dataset.seconds;
    node.textContent = ago(seconds === "" ? null : Number(seconds), Date.now() / 1000);
  }
}
