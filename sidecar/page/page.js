// The pages need no script. With one they keep themselves fresh, search while you type, and copy commands.
"use strict";

const bar = document.querySelector("[data-refresh]");
const search = document.querySelector("#q");
let paused = false;
let asked = 0;

// The address without a login that stands in it: fetch takes no such address.
const address = () => location.origin + location.pathname + location.search;

async function refresh() {
  const number = ++asked;
  let text;
  try {
    const answer = await fetch(address(), { credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) throw new Error(`the answer was ${answer.status}`);
    text = await answer.text();
  } catch (error) {
    say(`not up to date: ${error.message}`, true);
    return;
  }
  if (number !== asked) return; // a later one is on its way
  replace(new DOMParser().parseFromString(text, "text/html"));
  say(paused ? "paused" : `updates every ${bar.dataset.refresh} s`, false);
}

function replace(fresh) {
  const open = [...document.querySelectorAll("details[open][id]")].map((each) => each.id);
  const focused = document.activeElement?.closest("[data-live]") && document.activeElement.getAttribute("href");
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(old.id);
    if (!now) continue;
    old.replaceWith(now);
    decorate(now);
  }
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused) document.querySelector(`[data-live] [href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  document.title = fresh.title;
  const icon = fresh.getElementById("icon");
  if (icon) document.getElementById("icon")?.setAttribute("href", icon.getAttribute("href"));
}

function say(words, isBad) {
  const said = bar.querySelector("[data-said]");
  said.textContent = words;
  said.classList.toggle("bad", isBad);
}

function tick() {
  const reads = document.hidden || String(getSelection()) !== "";
  if (!paused && !reads) refresh();
}

function decorate(part) {
  for (const type of part.querySelectorAll(".type")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", () => copy(type.querySelector("code"), button));
    type.append(button);
  }
}

async function copy(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code); // no clipboard without TLS: it is marked, for Ctrl+C
    button.textContent = "Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

function searched() {
  const query = new URLSearchParams(location.search);
  if (search.value) query.set("q", search.value);
  else query.delete("q");
  history.replaceState(null, "", location.pathname + (String(query) && `?${query}`));
  refresh();
}

decorate(document);
if (bar) {
  bar.hidden = false;
  const button = bar.querySelector("[data-pause]");
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    say(paused ? "paused" : `updates every ${bar.dataset.refresh} s`, false);
    if (!paused) refresh();
  });
  setInterval(tick, 1000 * bar.dataset.refresh);
}
if (search) {
  let typed;
  search.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(searched, 150);
  });
}
