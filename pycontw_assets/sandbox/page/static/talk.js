// Calls to the control API, and messages to the visitor.

const status = document.getElementById("status");
let fade;

export function say(text, isBad = false) {
  status.textContent = text;
  status.classList.toggle("bad", isBad);
  status.classList.add("shown");
  clearTimeout(fade);
  fade = setTimeout(() => status.classList.remove("shown"), 6000);
}

export async function read(path) {
  const reply = await fetch(`control/${path}`);
  if (!reply.ok) throw new Error(`the sandbox answers ${reply.status}`);
  return reply.json();
}

// Actions run one at a time, first come, first served.
let queue = Promise.resolve();

export function act(action, body, done) {
  queue = queue.then(() => send(action, body, done)).catch(() => say("The sandbox does not answer.", true));
  return queue;
}

async function send(action, body, done) {
  const reply = await fetch(`control/${action}`, {
    method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body),
  });
  const answer = await reply.json();
  if (reply.ok) say(typeof done === "function" ? done(answer.result) : done);
  else say(`Refused: ${answer.error}`, true);
  document.dispatchEvent(new Event("changed"));
}

// Ask one question: resolves to the text, or to null when the visitor cancels.
const dialog = document.getElementById("ask");
const value = document.getElementById("ask-value");
dialog.querySelector("[value=no]").addEventListener("click", () => dialog.close("no"));

export function ask({title, hint = "", label = "", text = "", yes}) {
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-hint").textContent = hint;
  document.getElementById("ask-label").textContent = label;
  document.getElementById("ask-field").hidden = !label;
  document.getElementById("ask-yes").textContent = yes;
  value.required = Boolean(label);
  value.value = text;
  dialog.returnValue = "no";
  dialog.showModal();
  if (label) value.select();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? value.value : null), {once: true});
  });
}
