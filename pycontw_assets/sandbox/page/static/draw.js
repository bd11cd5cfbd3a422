// Small parts of the page, and lists that redraw only changed rows: focus and scroll position survive.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== ""));
  return element;
}

// An address; a line may break before its @.
export function address(text) {
  const [local, ...domain] = text.split(/(?=@)/);
  return make("span", {class: "address"}, local, domain.length ? make("wbr") : null, domain);
}

// A button; a screen reader also reads the subject.
export function button(text, subject, onclick, kind = "quiet") {
  return make("button", {type: "button", class: kind, "data-name": text, "aria-label": subject ? `${text}: ${subject}` : null, onclick}, text);
}

export function list(element, rows, draw) {
  const old = new Map([...element.children].map((child) => [child.dataset.key, child]));
  const focus = whereFocusIs(element);
  const children = rows.map((row) => {
    const key = String(row.key ?? row.id), mark = JSON.stringify(row), before = old.get(key);
    if (before?.dataset.mark === mark) return before;
    const child = draw(row);
    child.dataset.key = key;
    child.dataset.mark = mark;
    return child;
  });
  children.forEach((child, position) => {
    if (element.children[position] !== child) element.insertBefore(child, element.children[position] ?? null);
  });
  while (element.children.length > children.length) element.lastElementChild.remove();
  if (focus && !element.contains(document.activeElement)) restore(element, focus);
}

function whereFocusIs(element) {
  const focused = document.activeElement, rows = [...element.children];
  const position = rows.findIndex((row) => row.contains(focused));
  return position < 0 ? null : {position, key: rows[position].dataset.key, name: focused.dataset.name};
}

// Focus the same button of the same row. When the button is gone, focus its row; when the row is gone, its successor.
function restore(element, {position, key, name}) {
  const rows = [...element.children], same = rows.find((row) => row.dataset.key === key);
  const row = same ?? rows[Math.min(position, rows.length - 1)] ?? element.closest("section").querySelector("h2");
  const button = same && [...row.querySelectorAll("button")].find((button) => button.dataset.name === name);
  if (!button) row.tabIndex = -1;
  (button || row).focus();
}

export function set(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
}

export const count = (number) => number.toLocaleString("en");

export function plural(number, noun, nouns = `${noun}s`) {
  return `${count(number)} ${number === 1 ? noun : nouns}`;
}

export function duration(seconds) {
  if (seconds < 10) return `${Math.max(seconds, 0).toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}
