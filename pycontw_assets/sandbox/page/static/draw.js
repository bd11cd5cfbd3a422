// Small parts of the page, and lists that change only where the world did: focus and scrolling survive.

export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== ""));
  return made;
}

// An address that breaks, if it must, before its @.
export function address(text) {
  const [local, ...domain] = text.split(/(?=@)/);
  return make("span", {class: "address"}, local, domain.length ? make("wbr") : null, domain);
}

// A button that says to a screen reader what it is about.
export function button(text, about, onclick, kind = "quiet") {
  return make("button", {type: "button", class: kind, "data-name": text, "aria-label": about ? `${text}: ${about}` : null, onclick}, text);
}

export function list(element, rows, draw) {
  const old = new Map([...element.children].map((child) => [child.dataset.key, child]));
  const focus = whereFocusIs(element);
  const wanted = rows.map((row) => {
    const key = String(row.key ?? row.id), mark = JSON.stringify(row), before = old.get(key);
    if (before?.dataset.mark === mark) return before;
    const made = draw(row);
    made.dataset.key = key;
    made.dataset.mark = mark;
    return made;
  });
  wanted.forEach((child, position) => {
    if (element.children[position] !== child) element.insertBefore(child, element.children[position] ?? null);
  });
  while (element.children.length > wanted.length) element.lastElementChild.remove();
  if (focus && !element.contains(document.activeElement)) restore(element, focus);
}

function whereFocusIs(element) {
  const focused = document.activeElement, rows = [...element.children];
  const position = rows.findIndex((row) => row.contains(focused));
  return position < 0 ? null : {position, key: rows[position].dataset.key, name: focused.dataset.name};
}

// The same button of the same row; the row when that button is gone; what took its place when the row is gone.
function restore(element, {position, key, name}) {
  const rows = [...element.children], same = rows.find((row) => row.dataset.key === key);
  const row = same ?? rows[Math.min(position, rows.length - 1)] ?? element.closest("section").querySelector("h2");
  const again = same && [...row.querySelectorAll("button")].find((one) => one.dataset.name === name);
  if (!again) row.tabIndex = -1;
  (again || row).focus();
}

export function set(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
}

export const count = (number) => number.toLocaleString("en");

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function lasting(seconds) {
  if (seconds < 10) return `${Math.max(seconds, 0).toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}
