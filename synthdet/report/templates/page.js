"use strict";
// The gallery: cards are made when they come near the window, so that thousands of rows cost little.
document.addEventListener("DOMContentLoaded", () => {
  const STEP = 60; // cards added at a time
  const items = JSON.parse(document.getElementById("items").textContent);
  const cards = document.getElementById("cards");
  const more = document.getElementById("more");
  const count = document.getElementById("count");
  const controls = document.getElementById("controls");

  const orders = {
    row: (a, b) => a.row - b.row,
    highest: (a, b) => b.logit - a.logit,
    lowest: (a, b) => a.logit - b.logit,
    unsure: (a, b) => Math.abs(a.logit) - Math.abs(b.logit),
    name: (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  };
  let shown = []; // items that pass the filters, in order
  let made = 0; // how many of them have a card

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text; // never as HTML: names are anybody's words
    return made;
  }

  function picture(kind, row, alt) {
    const data = document.getElementById(`${kind}-${row}`);
    if (!data || !data.textContent) return null;
    const image = element("img", kind);
    image.src = `data:image/webp;base64,${data.textContent}`;
    image.alt = alt;
    return image;
  }

  function view(item) {
    const box = element("div", "view");
    const image = picture("picture", item.row, item.name);
    box.append(image || element("span", "", "no picture"));
    return box;
  }

  function slider(item, box) {
    const heat = picture("heat", item.row, "");
    if (!heat) return null;
    box.append(heat);
    const label = element("label", "slider", "map");
    const range = element("input");
    const start = items.length === 1 ? 50 : 0;
    Object.assign(range, { type: "range", min: 0, max: 100, value: start });
    heat.style.opacity = start / 100;
    range.setAttribute("aria-label", `opacity of the map over ${item.name}`);
    range.addEventListener("input", () => { heat.style.opacity = range.value / 100; });
    label.append(range);
    return label;
  }

  function card(item) {
    const article = element("article", "card");
    article.dataset.row = item.row;
    if (item.truth && (item.logit > 0) !== (item.truth === "synthetic")) {
      article.classList.add("wrong");
    }
    const box = view(item);
    article.append(box);
    const range = slider(item, box);
    if (range) article.append(range);
    const text = element("div", "text");
    const heading = element("h3", "", item.name.split(/[\\/]/).pop() || item.name);
    heading.title = item.name;
    text.append(heading);
    const line = element("p");
    line.append(element("span", `badge ${item.verdict.replace(" ", "-")}`, item.verdict));
    const chance = item.chance === undefined ? "" : `, probability ${item.chance.toFixed(2)}`;
    const sign = item.logit < 0 ? "−" : "+";
    line.append(`${chance}, logit ${sign}${Math.abs(item.logit).toFixed(2)}`);
    text.append(line);
    if (item.views) text.append(element("p", "small", item.views));
    if (item.truth) text.append(element("p", "small", `truth: ${item.truth}`));
    if (item.source && item.source !== ".") text.append(element("p", "small", `source: ${item.source}`));
    if (item.status !== "ok") text.append(element("p", "small", `status: ${item.status}`));
    if (item.notes) text.append(element("p", "small", `note: ${item.notes}`));
    for (const said of item.said || []) text.append(element("p", "small", said));
    article.append(text);
    return article;
  }

  function add() {
    const next = shown.slice(made, made + STEP);
    cards.append(...next.map(card));
    made += next.length;
    more.hidden = made >= shown.length;
  }

  function show() {
    const wanted = Object.fromEntries(new FormData(controls));
    const name = wanted.name.toLowerCase();
    shown = items.filter((item) =>
      (!wanted.verdict || item.verdict === wanted.verdict) &&
      (!wanted.status || item.status === wanted.status) &&
      (!wanted.source || item.source === wanted.source) &&
      (!name || item.name.toLowerCase().includes(name)));
    shown.sort(orders[wanted.sort]);
    made = 0;
    cards.replaceChildren();
    count.textContent = `${shown.length} of ${items.length} pictures`;
    add();
  }

  controls.addEventListener("input", show);
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("reset", () => setTimeout(show));
  more.addEventListener("click", add);
  new IntersectionObserver((seen) => {
    if (seen.some((one) => one.isIntersecting)) add();
  }, { rootMargin: "600px" }).observe(more);

  const worst = document.getElementById("worst");
  if (worst) worst.append(...worst.dataset.rows.split(" ").map((row) => card(items[row])));
  show();
  document.body.dataset.ready = "yes";
});
