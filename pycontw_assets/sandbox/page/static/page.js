// Reads the page view every second, draws it, and sends the visitor's actions.

import {act, ask, read, say} from "./talk.js";
import {address, button, count, duration, list, make, plural, set} from "./draw.js";
import {openLetter, openMail} from "./letter.js";

const PAUSE = 1000;
const PRESETS = [["fine", "Fine"], ["slow", "Slow"], ["429", "429"], ["500", "500"], ["down", "Down"]];
const SERVICES = {kktix: "KKTIX", gather: "Gather", klaviyo: "Klaviyo"};
const at = (id) => document.getElementById(id);
let now = 0;
let last = null;

const since = (moment) => (now - Date.parse(moment)) / 1000;

// -- the progress of a ticket -------------------------------------------------------------------------

const SIGNS = {done: "✓", waiting: "…", off: "–"};

function progressStep(name, step, done = "", waiting = "") {
  const took = step.seconds == null ? "" : duration(step.seconds);
  const detail = {
    done: step.note || `${done} ${took}`.trim(),
    waiting: step.note || waiting,
    off: took ? `${step.note} after ${took}` : step.note,
  };
  const clock = step.state === "waiting" && step.since ? make("span", {"data-since": step.since}) : null;
  return make("li", {class: step.state},
    make("span", {class: "sign", "aria-hidden": "true"}, SIGNS[step.state]),
    make("span", {class: "name"}, name),
    make("span", {class: "detail"}, detail[step.state], clock ? " " : null, clock));
}

function ticketButtons(row) {
  const subject = `${row.nickname}, ticket ${row.id}`;
  const ticketButton = (text, action, done, kind = "small quiet") =>
    button(text, subject, () => act(action, {attendee_id: row.id}, done), kind);
  if (row.state !== "activated") return [ticketButton("Reinstate", "reinstate", `The ticket of ${row.nickname} is valid again.`)];
  return [
    row.is_paid ? null : ticketButton("Pay", "pay", `${row.nickname} has paid.`, "small"),
    ticketButton("Cancel", "cancel", `The ticket of ${row.nickname} is cancelled.`),
    ticketButton("Transfer", "transfer", (address) => `The ticket of ${row.nickname} now belongs to ${address}.`),
  ];
}

function paidStep(row) {
  if (row.state !== "activated") return {state: "off", note: row.state};
  return row.is_paid ? {state: "done", note: ""} : {state: "waiting", note: "not yet"};
}

function ticketRow(row) {
  return make("li", {class: `ticket ${row.phase.replace(" ", "-")}`},
    make("div", {class: "entry"},
      make("strong", {}, row.nickname),
      address(row.address.trim() || "no address"),
      make("span", {class: "fine"}, `${row.event} · ${row.id}`)),
    make("ol", {class: "progress", "aria-label": "Progress"},
      progressStep("Paid", paidStep(row)),
      progressStep("Let in", row.access, "after", "waiting"),
      progressStep("Mailed", row.mail, "after", "waiting")),
    make("div", {class: "buttons"}, ticketButtons(row)));
}

// -- the other boards ---------------------------------------------------------------------------------

function eventRow(row) {
  const rename = async () => {
    const hint = "The pipeline reads edition and family from the name; an event that it already has keeps its key.";
    const name = await ask({title: "Rename the event", hint, label: "Name", text: row.name, yes: "Rename"});
    if (name) act("rename_event", {event_id: row.id, name}, `Event ${row.id} is now called ${name}.`);
  };
  const end = () => act("end_event", {event_id: row.id}, `${row.name} has ended.`);
  const kind = row.has_ended ? "ended" : row.family ?? "left alone";
  return make("li", {class: "event"},
    make("div", {class: "entry"}, make("strong", {}, row.name),
      make("span", {class: "fine"}, `${row.id} · ${kind} · ${plural(row.tickets, "ticket")}, ${count(row.usable)} usable`)),
    make("div", {class: "buttons"},
      button("Rename", row.name, rename, "small quiet"),
      row.has_ended ? null : button("End", row.name, end, "small quiet")));
}

function guestRow(row) {
  const remove = () => act("remove_guest", {address: row.address}, `${row.address} was removed by hand.`);
  const badge = row.by_hand ? "by hand" : row.is_leaving ? "by pipeline, to be taken off" : "by pipeline";
  return make("li", {class: "guest"},
    address(row.address),
    make("span", {class: `badge ${row.by_hand ? "hand" : row.is_leaving ? "warn" : "good"}`}, badge),
    make("div", {class: "buttons"}, button("Remove", row.address, remove, "small quiet")));
}

function mailRow(row) {
  const onclick = () => {
    openMail(row.id);
    if (last) draw(last);
  };
  return make("li", {class: "mail"},
    make("button", {type: "button", class: "line", "data-name": "open", "aria-pressed": String(row.open), onclick},
      address(row.address),
      make("span", {class: "fine"}, new Date(row.at).toLocaleTimeString([], {hour12: false}))));
}

function refusalRow(row) {
  return make("li", {class: "refusal"},
    make("span", {class: `badge ${row.is_failure ? "bad" : "warn"}`}, row.is_failure ? "tried again" : "worth a look"),
    make("div", {class: "entry"},
      row.text.split("\n").map((line) => make("span", {}, line)),
      make("span", {class: "fine"},
        row.partition_key ? `${row.partition_key} · ` : "",
        make("span", {"data-since": row.since}),
        row.times > 1 ? `, ${row.times} times` : "")));
}

const weatherFields = new Map();

function drawWeather(services) {
  for (const service of services) {
    if (!weatherFields.has(service.name)) weatherFields.set(service.name, weatherField(service.name));
    const {calls, radios} = weatherFields.get(service.name);
    const text = `${plural(service.calls, "call")}${service.last_call ? `, last ${duration(since(service.last_call))} ago` : ""}`;
    if (calls.textContent !== text) calls.textContent = text;
    for (const radio of radios) radio.checked = radio.value === service.faults;
  }
}

function weatherField(name) {
  const radios = PRESETS.map(([preset, word]) => {
    const radio = make("input", {type: "radio", name: `weather-${name}`, value: preset, "data-word": word});
    radio.addEventListener("change", () => act("set_faults", {service: name, preset}, `${SERVICES[name]}: ${word}.`));
    return radio;
  });
  const calls = make("span", {class: "fine"});
  at("weather").append(make("fieldset", {class: "choice small weather"},
    make("legend", {}, SERVICES[name], " ", calls),
    radios.map((radio) => make("label", {}, radio, make("span", {}, radio.dataset.word)))));
  return {calls, radios};
}

// -- drawing everything -------------------------------------------------------------------------------

function drawNumbers({counts}) {
  const {phases} = counts;
  const nonZero = (pairs) => pairs.filter(([number]) => number).map(([number, word]) => `${count(number)} ${word}`).join(", ");
  set("n-tickets", count(counts.tickets));
  set("n-tickets-more", nonZero([[phases.unpaid, "unpaid"], [phases["left out"], "left out"], [phases.gone + phases.leaving, "cancelled"]]));
  set("n-people", `${count(counts.let_in)} / ${count(counts.people)}`);
  set("n-people-more", nonZero([[counts.people - counts.let_in, "waiting"], [phases.leaving, "to be taken off"]]) || "nobody is waiting");
  set("n-mails", count(counts.mails));
  set("n-mails-more", phases.waiting ? `${plural(phases.waiting, "ticket")} in progress` : "no ticket in progress");
  for (const [id, spread] of [["n-access", counts.access_seconds], ["n-mail", counts.mail_seconds]]) {
    set(id, spread ? duration(spread.median) : "–");
    set(`${id}-more`, spread ? `median; slowest ${duration(spread.slowest)}` : "no sale yet");
  }
}

function drawEvents(events) {
  list(at("events"), events, eventRow);
  set("events-count", count(events.length));
  const select = at("sell-event"), onSale = events.filter((event) => !event.has_ended);
  const mark = JSON.stringify(onSale.map((event) => [event.id, event.name]));
  if (select.dataset.mark === mark) return;
  const selected = select.value;
  select.replaceChildren(...onSale.map((event) => new Option(`${event.family ?? "left alone"} · ${event.name}`, event.id)));
  if (onSale.some((event) => String(event.id) === selected)) select.value = selected;
  select.dataset.mark = mark;
}

const NO_RECORD = "No pipeline has used this data folder yet: `pycontw-assets poll` polls this sandbox once, "
  + "`pycontw-assets dev` keeps polling.";

function drawRefusals(refusals, services) {
  const rows = refusals ?? [], lastCall = services.find((service) => service.name === "kktix").last_call;
  const problems = rows.length ? ` · ${plural(rows.length, "problem")}` : "";
  set("pulse", lastCall ? `Pipeline last asked KKTIX ${duration(since(lastCall))} ago${problems}` : "No pipeline has asked yet");
  at("pulse").classList.toggle("live", Boolean(lastCall) && since(lastCall) < 600);
  const key = (row) => `${row.partition_key} ${row.text.split("\n")[0].replace(/\d+/g, "#")}`;
  list(at("problems"), rows.map((row) => ({...row, key: key(row)})), refusalRow);
  set("problems-none", refusals === null ? NO_RECORD : rows.length ? "" : "There are no open problems.");
}

function rest(shown, all, nouns) {
  return all > shown ? `The latest ${count(shown)} of ${count(all)} ${nouns} are shown.` : "";
}

function drawGuests({guests, counts}) {
  list(at("guests"), guests.map((row) => ({...row, key: row.address})), guestRow);
  set("guests-count", count(counts.guests));
  const byHand = counts.guests_by_hand ? `${count(counts.guests_by_hand)} by hand: the pipeline leaves them alone.` : "";
  set("guests-rest", `${rest(guests.length, counts.guests, "guests")} ${byHand}`.trim());
}

function drawMails({mails, counts, campaigns}) {
  const open = openLetter(mails);
  list(at("mails"), mails.map((row) => ({...row, open: row.id === open})), mailRow);
  set("mails-count", count(counts.mails));
  const states = Object.entries(campaigns).map(([state, number]) => `${plural(number, "campaign")} ${state.toLowerCase()}`);
  const text = `${states.join(", ")}${states.length ? "." : ""} ${rest(mails.length, counts.mails, "mails")}`.trim();
  set("mails-rest", counts.mails ? text : "No mail has left yet.");
}

function draw(state) {
  now = Date.parse(state.now);
  drawNumbers(state);
  drawEvents(state.events);
  drawWeather(state.services);
  drawRefusals(state.refusals, state.services);
  list(at("tickets"), state.tickets, ticketRow);
  set("tickets-count", count(state.matching));
  set("tickets-rest", state.matching ? rest(state.tickets.length, state.matching, "tickets") : "No ticket matches.");
  drawGuests(state);
  drawMails(state);
  for (const clock of document.querySelectorAll("[data-since]")) clock.textContent = duration(since(clock.dataset.since));
}

// Announce in one line what the pipeline has changed.
function announce(before, after) {
  const news = [];
  const people = after.counts.let_in - before.counts.let_in, mails = after.counts.mails - before.counts.mails;
  if (people > 0) news.push(people === 1 ? "1 person was let in" : `${count(people)} people were let in`);
  if (people < 0) news.push(people === -1 ? "1 person lost access" : `${count(-people)} people lost access`);
  if (mails > 0) news.push(`${plural(mails, "mail")} left`);
  if (news.length) say(`${news.join(", ")}.`);
}

let refreshing = false;

async function refresh() {
  if (refreshing) return;
  refreshing = true;
  try {
    const filter = new URLSearchParams({text: at("find-text").value, phase: at("find-phase").value});
    const state = await read(`view?${filter}`);
    draw(state);
    if (last) announce(last, state);
    last = state;
    document.body.classList.remove("lost");
  } catch {
    if (!document.body.classList.contains("lost")) say("The sandbox does not answer. It was stopped, or is busy.", true);
    document.body.classList.add("lost");
    set("pulse", "The sandbox does not answer");
  } finally {
    refreshing = false;
  }
}

// -- actions of the visitor ---------------------------------------------------------------------------

at("sell").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target), buyers = Number(event.submitter?.value || 1);
  const paid = form.get("paid") === "yes";
  act("sell_many", {event_id: Number(form.get("event_id")), buyers, paid, kind: form.get("kind")},
    `Sold ${plural(buyers, "ticket")}${paid ? "" : ", not paid yet"}.`);
});

at("add-event").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = new FormData(event.target).get("name");
  act("add_event", {name}, (id) => `Event ${id} is on sale: ${name}.`);
});

at("add-guest").addEventListener("submit", (event) => {
  event.preventDefault();
  const address = new FormData(event.target).get("address");
  act("add_guest", {address}, `${address} is on the guest list, by hand.`);
});

at("reset").addEventListener("click", async () => {
  const hint = "This deletes every ticket, guest and mail of this sandbox and sets up the first sale again. "
    + "A pipeline that has polled this sandbox still remembers the old sale: stop it and delete its data folder as well.";
  const answer = await ask({title: "Start again?", hint, yes: "Start again"});
  if (answer !== null) act("reset", {}, "The sandbox is back at its first sale.");
});

at("find").addEventListener("submit", (event) => event.preventDefault());
at("find-text").addEventListener("input", refresh);
at("find-phase").addEventListener("change", refresh);
document.addEventListener("changed", refresh);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, PAUSE);
