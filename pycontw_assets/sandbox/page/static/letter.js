// One mail, as HTML in a frame without rights, and as text.

import {make, set} from "./draw.js";
import {read} from "./talk.js";

const CHINESE = /[\u3400-\u9fff]/g;
const letter = document.getElementById("letter");
const frame = document.getElementById("letter-html");
const words = document.getElementById("letter-text");
let open = null;

// The number of the open mail. The first mail opens automatically; a reset of the sandbox closes it.
export function openLetter(mails) {
  if (!mails.some((mail) => mail.id === open)) {
    if (mails.length) openMail(mails[0].id);
    else close();
  }
  return open;
}

export async function openMail(id) {
  open = id;
  const mail = await read(`mails/${id}`);
  if (open !== id) return;
  letter.hidden = false;
  set("letter-subject", mail.subject);
  set("letter-head", `To ${mail.address}, from ${mail.from_email}, campaign ${mail.campaign_name}`);
  frame.contentWindow.location.replace(`control/mails/${id}/html`);
  words.replaceChildren(...mail.text.split(/^- - -$/m).map((part) => make("pre", {lang: languageOf(part)}, part.trim())));
}

function close() {
  open = null;
  letter.hidden = true;
}

function languageOf(text) {
  return (text.match(CHINESE)?.length ?? 0) * 5 > text.length ? "zh-Hant-TW" : "en";
}

// Links that lead out of the mail do nothing; links within it work.
frame.addEventListener("load", () => {
  const page = frame.contentDocument;
  frame.style.height = `${Math.min(Math.max(page.documentElement.scrollHeight, 200), 720)}px`;
  page.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (link && !link.getAttribute("href").startsWith("#")) event.preventDefault();
  });
});

for (const radio of letter.querySelectorAll("[name=letter-form]")) {
  radio.addEventListener("change", () => {
    frame.hidden = radio.value !== "html";
    words.hidden = radio.value !== "text";
  });
}

for (const button of letter.querySelectorAll("[data-lang]")) {
  button.addEventListener("click", () => {
    const place = words.hidden ? frame.contentDocument.body : words;
    const parts = [...place.querySelectorAll(`:is(div, pre)[lang|="${button.dataset.lang}"]`)];
    const part = parts.sort((left, right) => right.textContent.length - left.textContent.length)[0];
    if (!part) return;
    const scroller = words.hidden ? frame.contentWindow : words;
    const top = words.hidden ? part.getBoundingClientRect().top + scroller.scrollY : part.offsetTop - words.offsetTop;
    scroller.scrollTo(0, top - 12);
  });
}
