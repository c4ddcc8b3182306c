"use strict";

const element = (id) => document.getElementById(id);
const percent = (share) => (share > 0.9995 && share < 1 ? ">\u00a099.9" : (100 * share).toFixed(1)) + "\u00a0%";
let about = null;
let latest = 0; // number of the latest request; answers to earlier ones are dropped

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// The content security policy forbids inline styles, hence SVG.
function drawing(attributes, fill) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const bar = document.createElementNS(space, "rect");
  for (const [name, value] of Object.entries({ "aria-hidden": "true", preserveAspectRatio: "none", ...attributes })) svg.setAttribute(name, value);
  for (const [name, value] of Object.entries(fill)) bar.setAttribute(name, value);
  svg.append(bar);
  return svg;
}

function show(id, visible) { element(id).hidden = !visible; }

function refuse(sentence) {
  show("wait", false);
  show("result", false);
  element("error").textContent = sentence;
  show("error", true);
  reveal();
}

async function describe() {
  about = await (await fetch("about")).json();
  document.title = `Terracyte: ${about.task}`;
  element("task").textContent = about.task;
  const score = about.score == null ? "" : `, ${about.metric} ${percent(about.score)} on test images`;
  element("model").textContent = `${about.variant}: ${about.title}${score}`;
  element("wanted").textContent = `${about.kinds}, at most ${about.largest_file / 2 ** 20} MiB; the model sees ${about.size.join(" x ")} pixels`;
  show("card", about.card);
  const list = document.querySelector("#examples ul");
  for (const example of about.examples) {
    const button = make("button", { type: "button", "aria-pressed": "false" });
    const [width, height] = about.size;
    button.append(make("img", { src: example.url, alt: "", width, height }), example.title);
    button.addEventListener("click", () => choose(example, button));
    list.append(make("li", {}, button));
  }
  show("examples", about.examples.length > 0);
}

async function choose(example, button) {
  press(button);
  await predict(async () => (await fetch(example.url)).blob());
}

function press(chosen) {
  for (const button of document.querySelectorAll("#examples button")) button.setAttribute("aria-pressed", String(button === chosen));
}

async function upload(file) {
  press(null);
  if (!file) return;
  if (about && file.size > about.largest_file) {
    latest += 1;
    refuse(`${file.name} is larger than ${about.largest_file / 2 ** 20} MiB: choose a smaller file.`);
    return;
  }
  await predict(() => file);
}

async function predict(picture) {
  const mine = ++latest;
  show("error", false);
  element("wait").textContent = "Looking …";
  show("wait", true);
  let answer;
  try {
    const response = await fetch("predict", { method: "POST", body: await picture() });
    answer = await response.json();
  } catch {
    answer = { error: "the server does not answer: start it again" };
  }
  if (mine !== latest) return;
  if (answer.error) refuse(answer.error[0].toUpperCase() + answer.error.slice(1) + ".");
  else tell(answer);
}

function tell(answer) {
  show("wait", false);
  show("unfamiliar", answer.unfamiliar);
  const figures = [figure(answer.image, about.dense ? "the image" : "what the model saw")];
  if (about.dense) figures.push(figure(answer.overlay, "with its classes"));
  element("pictures").replaceChildren(...figures);
  element("pictures").className = about.dense ? "wide" : "";
  const shares = about.dense ? answer.shares : answer.probabilities;
  const highest = about.dense ? `Mean confidence of the pixels: ${percent(answer.confidence)}` : `${answer.class}, with a confidence of ${percent(answer.confidence)}`;
  element("answer").textContent = highest;
  const sorted = about.dense ? about.classes : [...about.classes].sort((one, other) => shares[other.name] - shares[one.name]);
  element("bars").replaceChildren(...sorted.map((each) => bar(each, shares[each.name])));
  element("note").textContent = answer.note;
  show("note", Boolean(answer.note));
  show("result", true);
  reveal();
}

// On a phone the answer is below the examples: scroll to it.
function reveal() {
  const heading = element("found").getBoundingClientRect();
  if (heading.top > innerHeight / 2 || heading.bottom < 0) element("found").scrollIntoView();
}

function figure(source, caption) {
  const [width, height] = about.size;
  return make("figure", {}, make("img", { src: source, alt: caption, width, height }), make("figcaption", {}, caption));
}

function bar(each, share) {
  const name = make("span", { class: "name" });
  if (each.colour) name.append(drawing({ class: "swatch", viewBox: "0 0 1 1" }, { width: 1, height: 1, fill: each.colour }));
  name.append(each.name);
  const track = drawing({ class: "track", viewBox: "0 0 100 1" }, { width: 100 * share, height: 1 });
  return make("li", {}, name, make("span", { class: "share" }, percent(share)), track);
}

const drop = element("drop");
element("file").addEventListener("change", (event) => {
  upload(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
});
element("file").addEventListener("focus", () => drop.classList.add("focus"));
element("file").addEventListener("blur", () => drop.classList.remove("focus"));
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  upload(event.dataTransfer.files[0]);
});
describe().catch(() => refuse("The server does not answer: start it again."));
