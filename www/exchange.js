// Fills the live panel: three requests and the server's responses.
import { head, hex, ifChanged, range } from "./probe.js";

const PICTURE = "/harbour.png";
const PNG_SIGNATURE = "89 50 4E 47 0D 0A 1A 0A";

/** An element with a class and children; text is set as text, never as HTML. */
function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** fetch gives field names in small letters; show them the usual way. */
function usualName(name) {
  if (name === "etag") return "ETag";
  return name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
}

function requestText({ method, path, fields }) {
  const lines = [`${method} ${path} HTTP/1.1`];
  for (const [name, value] of Object.entries(fields)) lines.push(`${name}: ${value}`);
  return lines.join("\n");
}

function fieldTable(answer, only) {
  const rows = [...answer.fields]
    .filter(([name]) => !only || only.includes(name))
    .map(([name, value]) => {
      const key = make("th", "", usualName(name));
      key.scope = "row";
      return make("tr", "", key, make("td", "", value));
    });
  return make("table", "fields", make("tbody", "", ...rows));
}

function bytes(count) {
  return count === 1 ? "1 byte" : `${count} bytes`;
}

/** One request with its response, as a block of the panel. */
function block(title, answer, said, only) {
  return make(
    "div",
    "probe",
    make("h3", "", title),
    make("pre", "typed", make("code", "", requestText(answer.request))),
    make("p", "status", `${answer.status} ${answer.reason}`.trim()),
    fieldTable(answer, only),
    make("p", "said", ...said),
  );
}

function note(title, text) {
  return make("div", "probe", make("h3", "", title), make("p", "said", text));
}

async function headBlock(path) {
  const answer = await head(path);
  const length = answer.fields.get("content-length");
  const said = [
    length === null
      ? "The server did not say how long the page is. "
      : `A GET would send ${bytes(Number(length))} after these fields. `,
    "The script gets the fields in the order of the alphabet; on the wire it is the server’s own.",
  ];
  return { answer, element: block("The head of this page", answer, said) };
}

async function conditionalBlock(path, etag) {
  const title = "Only if it changed";
  if (etag === null) {
    return note(title, "The answer has no ETag, so there is nothing to ask with. Not sent.");
  }
  const answer = await ifChanged(path, etag);
  const size = bytes(answer.body.length);
  let said = `An answer this page did not expect, with a body of ${size}.`;
  if (answer.status === 304) {
    said = `Not changed: the body is ${size}, and a browser would show the copy it has.`;
  } else if (answer.status === 200) {
    said = answer.fields.get("etag") === etag
      ? `The tag is the same, but the server sent the whole page: ${size}.`
      : `The page has changed since the first request, so all ${size} came.`;
  }
  return block(title, answer, [said], ["etag", "content-length", "last-modified"]);
}

async function rangeBlock() {
  const answer = await range(PICTURE, 0, 7);
  const first = hex(answer.body.subarray(0, 8));
  const said = [make("span", "hex", first), ". "];
  if (answer.status === 206) {
    said.push(`${bytes(answer.body.length)} came. `);
  } else if (answer.status === 200) {
    said.push(`The server sent the whole file, ${bytes(answer.body.length)}; these are the first eight. `);
  } else {
    said.push("This is not the picture. ");
  }
  if (first === PNG_SIGNATURE) {
    said.push("Every PNG file begins so; 50 4E 47 are the letters PNG.");
  }
  return block("The first eight bytes of the picture", answer, said,
    ["content-range", "content-length", "content-type", "accept-ranges"]);
}

/** A request that got no response at all becomes a note, not an error. */
async function orNote(title, promise) {
  try {
    return await promise;
  } catch (error) {
    return note(title, `No answer: ${error.message}.`);
  }
}

/** Puts the real tag into the line to type, so that it can be copied. */
function showTag(etag) {
  const target = document.querySelector("[data-etag]");
  if (target && etag !== null) target.textContent = etag;
}

/** The telnet line for the host and port of this very page. */
function showTelnet() {
  const target = document.querySelector("[data-telnet]");
  if (!target || location.protocol !== "http:") return;
  const host = location.hostname.replace(/^\[|\]$/g, "");
  target.textContent = `telnet ${host} ${location.port || "80"}`;
}

async function run(list, state, button) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  state.textContent = "Asking…";
  const begun = performance.now();
  const path = location.pathname;

  let etag = null;
  const first = await orNote("The head of this page", headBlock(path).then((got) => {
    etag = got.answer.fields.get("etag");
    return got.element;
  }));
  const second = await orNote("Only if it changed", conditionalBlock(path, etag));
  const third = await orNote("The first eight bytes of the picture", rangeBlock());

  list.replaceChildren(first, second, third);
  showTag(etag);
  const took = Math.max(1, Math.round(performance.now() - begun));
  state.textContent = `Three requests in turn, ${took} ms, at ${new Date().toLocaleTimeString("en-GB")}.`;
  button.setAttribute("aria-disabled", "false");
}

function start() {
  const panel = document.getElementById("panel");
  if (!panel) return;
  const button = make("button", "button", "Ask again");
  button.type = "button";
  const state = make("p", "");
  state.setAttribute("role", "status");
  const list = make("div", "probes");
  button.addEventListener("click", () => run(list, state, button));
  panel.replaceChildren(make("div", "panel-bar", button, state), list);
  run(list, state, button);
}

showTelnet();
start();
