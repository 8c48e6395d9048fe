"use strict";
// Unpacks the slices of the run, draws a mark for each, and shows those that are searched in a table.
const UNKNOWN = -(2 ** 31), ROW = 28;
const byId = (id) => document.getElementById(id);

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(data.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(data.subarray(4, 4 + length)));
  let at = 4 + length;
  const count = Number(byId("data").dataset.slices);
  for (const column of head.columns) {
    if (column.texts) continue;
    const numbers = new Int32Array(count);
    for (let row = 0; row < count; row++) {
      numbers[row] = data[at + row] | (data[at + count + row] << 8)
        | (data[at + 2 * count + row] << 16) | (data[at + 3 * count + row] << 24);
    }
    column.numbers = numbers;
    at += 4 * count;
  }
  return { columns: head.columns, count };
}

const pad = (number) => String(number).padStart(2, "0");

function duration(seconds) {
  if (seconds < 60) return seconds.toFixed(1) + " s";
  const whole = Math.round(seconds), days = Math.floor(whole / 86400);
  const clock = [Math.floor(whole % 86400 / 3600), Math.floor(whole % 3600 / 60), whole % 60].map(pad).join(":");
  return days ? days + "-" + clock : clock;
}

function date(seconds) {
  const at = new Date(1000 * seconds);
  return at.getFullYear() + "-" + pad(at.getMonth() + 1) + "-" + pad(at.getDate()) + " "
    + [at.getHours(), at.getMinutes(), at.getSeconds()].map(pad).join(":");
}

function cell(column, row) {
  if (column.texts) return column.texts[row];
  const number = column.numbers[row];
  if (column.words) return column.words[number];
  if (number === UNKNOWN) return "";
  if (column.unit === "s") return duration(number < 600 ? number / 10 : number - 540);
  if (column.unit === "at") return date(number);
  if (column.unit === "B") return number < 1024 ? number + " MiB" : ((number - 924) / 100).toFixed(2) + " GiB";
  return String(number);
}

function compare(column) {
  if (!column.texts && !column.words) return (a, b) => column.numbers[a] - column.numbers[b] || a - b;
  const collator = new Intl.Collator(undefined, { numeric: true });
  if (column.words) {
    const order = [...column.words.keys()].sort((a, b) => collator.compare(column.words[a], column.words[b]));
    const rank = new Int32Array(order.length);
    order.forEach((word, place) => { rank[word] = place; });
    return (a, b) => rank[column.numbers[a]] - rank[column.numbers[b]] || a - b;
  }
  return (a, b) => collator.compare(column.texts[a], column.texts[b]) || a - b;
}

function searchTexts(slices) {
  const known = slices.columns.filter((column) => column.texts || column.words);
  return Array.from({ length: slices.count }, (_, row) =>
    known.map((column) => cell(column, row)).join("\n").toLowerCase());
}

function showTable(slices) {
  const view = byId("view"), body = byId("rows"), head = byId("heads");
  const search = byId("search"), states = byId("states"), found = byId("found");
  const state = slices.columns.find((column) => column.name === "state");
  let texts = null, rows = Int32Array.from({ length: slices.count }, (_, row) => row);
  let sorted = null, down = false;

  for (const word of state.words || [...new Set(state.texts)]) {
    const option = document.createElement("option");
    option.textContent = option.value = word;
    states.append(option);
  }
  slices.columns.forEach((column) => {
    const th = document.createElement("th"), button = document.createElement("button");
    button.textContent = column.name;
    button.addEventListener("click", () => {
      down = sorted === column && !down;
      sorted = column;
      for (const other of head.children) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      for (const other of head.children) other.firstChild.textContent = other.firstChild.textContent.replace(/ [▲▼]$/, "");
      button.textContent = column.name + (down ? " ▼" : " ▲");
      choose();
    });
    th.append(button);
    head.append(th);
  });

  function choose() {
    const word = search.value.trim().toLowerCase(), wanted = states.value;
    if (word && !texts) texts = searchTexts(slices);
    const chosen = [];
    for (let row = 0; row < slices.count; row++) {
      if (wanted && cell(state, row) !== wanted) continue;
      if (!word || texts[row].includes(word)) chosen.push(row);
    }
    rows = Int32Array.from(chosen);
    if (sorted) rows.sort(compare(sorted));
    if (down) rows.reverse();
    found.textContent = rows.length + " of " + slices.count + " slices";
    view.scrollTop = 0;
    paint();
  }

  function space(height) {
    const tr = document.createElement("tr"), td = document.createElement("td");
    tr.className = "space";
    td.colSpan = slices.columns.length;
    td.style.setProperty("height", height + "px");
    tr.append(td);
    return tr;
  }

  function paint() {
    const first = Math.max(0, Math.floor(view.scrollTop / ROW) - 8);
    const last = Math.min(rows.length, first + Math.ceil(view.clientHeight / ROW) + 20);
    const shown = [];
    for (let place = first; place < last; place++) {
      const tr = document.createElement("tr");
      for (const column of slices.columns) {
        const td = document.createElement("td");
        td.textContent = cell(column, rows[place]);
        if (td.textContent.length > 40) td.title = td.textContent;
        if (column === state) td.className = kind(td.textContent);
        if (column.numbers && !column.words) td.classList.add("right");
        tr.append(td);
      }
      shown.push(tr);
    }
    body.replaceChildren(space(first * ROW), ...shown, space((rows.length - last) * ROW));
  }

  let waits = false;
  view.addEventListener("scroll", () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => { waits = false; paint(); });
  });
  search.addEventListener("input", choose);
  states.addEventListener("change", choose);
  choose();
  return (key) => { search.value = key; states.value = ""; choose(); };
}

const KINDS = JSON.parse(document.getElementById("data").dataset.kinds);
const kind = (state) => KINDS[state] || "unknown";

function drawStrip(slices, pick) {
  const canvas = byId("strip"), tip = byId("tip"), scale = window.devicePixelRatio || 1;
  const state = slices.columns.find((column) => column.name === "state");
  const shown = slices.columns.filter((column) => ["key", "state", "elapsed", "memory", "node"].includes(column.name));
  let size = 1, across = 1;

  function draw() {
    const width = canvas.clientWidth, style = getComputedStyle(document.documentElement);
    size = Math.max(2, Math.min(14, Math.floor(Math.sqrt(width * 180 / slices.count))));
    across = Math.max(1, Math.floor(width / size));
    const height = Math.ceil(slices.count / across) * size;
    canvas.style.setProperty("height", height + "px");
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d"), gap = size > 4 ? 1 : 0;
    pen.scale(scale, scale);
    const colors = {};
    for (let row = 0; row < slices.count; row++) {
      const name = kind(cell(state, row));
      pen.fillStyle = colors[name] || (colors[name] = style.getPropertyValue("--" + name).trim());
      pen.fillRect(row % across * size, Math.floor(row / across) * size, size - gap, size - gap);
    }
  }

  function rowAt(event) {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / size), y = Math.floor((event.clientY - box.top) / size);
    const row = y * across + x;
    return x < across && row >= 0 && row < slices.count ? row : -1;
  }

  canvas.addEventListener("mousemove", (event) => {
    const row = rowAt(event);
    tip.textContent = row < 0 ? "" : shown.map((column) => cell(column, row)).filter(Boolean).join("  ·  ");
  });
  canvas.addEventListener("click", (event) => {
    const row = rowAt(event);
    if (row >= 0) pick(cell(shown[0], row));
  });
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
}

async function start() {
  if (typeof DecompressionStream === "undefined") {
    byId("old").textContent = "This browser is too old for the strip and the table of all slices. All else is here.";
    return;
  }
  const slices = await unpack(byId("data").textContent.trim());
  byId("all").classList.add("ready");
  byId("old").textContent = "";
  drawStrip(slices, showTable(slices));
}

start().catch((why) => {
  byId("old").textContent = "The table of all slices cannot be shown: " + why;
});
