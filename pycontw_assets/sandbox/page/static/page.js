// Asks every second how the world is, draws it, and turns what the visitor does into orders.

import {address, button, count, lasting, list, make, plural, set} from "./draw.js";
import {openLetter, openMail} from "./letter.js";
import {ask, look, order, say} from "./talk.js";

const PAUSE = 1000;
const WEATHERS = [["fine", "Fine"], ["slow", "Slow"], ["429", "429"], ["500", "500"], ["down", "Down"]];
const SERVICES = {kktix: "KKTIX", gather: "Gather", klaviyo: "Klaviyo"};
const at = (id) => document.getElementById(id);
let now = 0;
let last = null;

const since = (moment) => (now - Date.parse(moment)) / 1000;

// -- the way of a ticket ------------------------------------------------------------------------------

const SIGNS = {done: "✓", waiting: "…", off: "–"};

function stop(name, step, done = "", waiting = "") {
  const took = step.seconds == null ? "" : lasting(step.seconds);
  const told = {
    done: step.note || `${done} ${took}`.trim(),
    waiting: step.note || waiting,
    off: took ? `${step.note} after ${took}` : step.note,
  };
  const clock = step.state === "waiting" && step.since ? make("span", {"data-since": step.since}) : null;
  return make("li", {class: step.state},
    make("span", {class: "sign", "aria-hidden": "true"}, SIGNS[step.state]),
    make("span", {class: "name"}, name),
    make("span", {class: "told"}, told[step.state], clock ? " " : null, clock));
}

function ticketButtons(row) {
  const about = `${row.who}, ticket ${row.id}`;
  const press = (text, action, done, kind = "small quiet") =>
    button(text, about, () => order(action, {attendee_id: row.id}, done), kind);
  if (row.state !== "activated") return [press("Reinstate", "reinstate", `The ticket of ${row.who} is valid again.`)];
  return [
    row.is_paid ? null : press("Pay", "pay", `${row.who} has paid.`, "small"),
    press("Cancel", "cancel", `The ticket of ${row.who} is cancelled.`),
    press("Transfer", "transfer", (heir) => `The ticket of ${row.who} now belongs to ${heir}.`),
  ];
}

function paidStep(row) {
  if (row.state !== "activated") return {state: "off", note: row.state};
  return row.is_paid ? {state: "done", note: ""} : {state: "waiting", note: "not yet"};
}

function ticketRow(row) {
  return make("li", {class: `ticket ${row.phase.replace(" ", "-")}`},
    make("div", {class: "who"},
      make("strong", {}, row.who),
      address(row.address.trim() || "no address"),
      make("span", {class: "fine"}, `${row.event} · ${row.id}`)),
    make("ol", {class: "way", "aria-label": "Its way"},
      stop("Paid", paidStep(row)), stop("Let in", row.access, "after", "waiting"), stop("Mailed", row.mail, "after", "waiting")),
    make("div", {class: "doing"}, ticketButtons(row)));
}

// -- the other boards ---------------------------------------------------------------------------------

function eventRow(row) {
  const rename = async () => {
    const hint = "The pipeline reads edition and family from the name; an event it knows keeps its key.";
    const name = await ask({title: "Rename the event", hint, label: "Name", given: row.name, yes: "Rename"});
    if (name) order("rename_event", {event_id: row.id, name}, `Event ${row.id} is now called ${name}.`);
  };
  const end = () => order("end_event", {event_id: row.id}, `${row.name} has ended.`);
  const kind = row.has_ended ? "ended" : row.family ?? "left alone";
  return make("li", {class: "event"},
    make("div", {class: "who"}, make("strong", {}, row.name),
      make("span", {class: "fine"}, `${row.id} · ${kind} · ${plural(row.tickets, "ticket")}, ${count(row.usable)} usable`)),
    make("div", {class: "doing"},
      button("Rename", row.name, rename, "small quiet"),
      row.has_ended ? null : button("End", row.name, end, "small quiet")));
}

function guestRow(row) {
  const remove = () => order("remove_guest", {address: row.address}, `${row.address} was removed by hand.`);
  const badge = row.by_hand ? "by hand" : row.is_leaving ? "ours, to leave" : "ours";
  return make("li", {class: "guest"},
    address(row.address),
    make("span", {class: `badge ${row.by_hand ? "hand" : row.is_leaving ? "warn" : "good"}`}, badge),
    make("div", {class: "doing"}, button("Remove", row.address, remove, "small quiet")));
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
    make("div", {class: "who"},
      row.text.split("\n").map((line) => make("span", {}, line)),
      make("span", {class: "fine"},
        row.partition_key ? `${row.partition_key} · ` : "",
        make("span", {"data-since": row.since}),
        row.times > 1 ? `, ${row.times} times` : "")));
}

const weatherShown = new Map();

function drawWeather(services) {
  for (const service of services) {
    if (!weatherShown.has(service.name)) weatherShown.set(service.name, weatherField(service.name));
    const {calls, radios} = weatherShown.get(service.name);
    const words = `${plural(service.calls, "call")}${service.last_call ? `, last ${lasting(since(service.last_call))} ago` : ""}`;
    if (calls.textContent !== words) calls.textContent = words;
    for (const radio of radios) radio.checked = radio.value === service.weather;
  }
}

function weatherField(name) {
  const radios = WEATHERS.map(([weather, word]) => {
    const radio = make("input", {type: "radio", name: `weather-${name}`, value: weather, "data-word": word});
    radio.addEventListener("change", () => order("set_weather", {service: name, weather}, `${SERVICES[name]}: ${word}.`));
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
  const some = (pairs) => pairs.filter(([number]) => number).map(([number, word]) => `${count(number)} ${word}`).join(", ");
  set("n-tickets", count(counts.tickets));
  set("n-tickets-more", some([[phases.unpaid, "unpaid"], [phases["left out"], "left out"], [phases.gone + phases.leaving, "cancelled"]]));
  set("n-people", `${count(counts.let_in)} / ${count(counts.people)}`);
  set("n-people-more", some([[counts.people - counts.let_in, "waiting"], [phases.leaving, "to be taken off"]]) || "nobody waits");
  set("n-mails", count(counts.mails));
  set("n-mails-more", some([[phases.waiting, phases.waiting === 1 ? "ticket on its way" : "tickets on their way"]]) || "nothing on its way");
  for (const [id, spread] of [["n-access", counts.access_seconds], ["n-mail", counts.mail_seconds]]) {
    set(id, spread ? lasting(spread.median) : "–");
    set(`${id}-more`, spread ? `median; slowest ${lasting(spread.slowest)}` : "no sale yet");
  }
}

function drawEvents(events) {
  list(at("events"), events, eventRow);
  set("events-count", count(events.length));
  const select = at("sell-event"), offered = events.filter((event) => !event.has_ended);
  const mark = JSON.stringify(offered.map((event) => [event.id, event.name]));
  if (select.dataset.mark === mark) return;
  const chosen = select.value;
  select.replaceChildren(...offered.map((event) => new Option(`${event.family ?? "left alone"} · ${event.name}`, event.id)));
  if (offered.some((event) => String(event.id) === chosen)) select.value = chosen;
  select.dataset.mark = mark;
}

const NO_RECORD = "No pipeline has kept a record in this data folder yet: `pycontw-assets poll` makes one tick "
  + "against this sandbox, `pycontw-assets dev` keeps going.";

function drawRefusals(refusals, services) {
  const rows = refusals ?? [], asked = services.find((service) => service.name === "kktix").last_call;
  const troubles = rows.length ? ` · ${plural(rows.length, "trouble")}` : "";
  set("pulse", asked ? `Pipeline last asked KKTIX ${lasting(since(asked))} ago${troubles}` : "No pipeline has asked yet");
  at("pulse").classList.toggle("live", Boolean(asked) && since(asked) < 600);
  const key = (row) => `${row.partition_key} ${row.text.split("\n")[0].replace(/\d+/g, "#")}`;
  list(at("refused"), rows.map((row) => ({...row, key: key(row)})), refusalRow);
  set("refused-none", refusals === null ? NO_RECORD : rows.length ? "" : "Nothing was refused.");
}

function rest(shown, all, what) {
  return all > shown ? `The latest ${count(shown)} of ${count(all)} ${what} are shown.` : "";
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
  const told = `${states.join(", ")}${states.length ? "." : ""} ${rest(mails.length, counts.mails, "mails")}`.trim();
  set("mails-rest", counts.mails ? told : "No mail has left yet.");
}

function draw(state) {
  now = Date.parse(state.now);
  drawNumbers(state);
  drawEvents(state.events);
  drawWeather(state.services);
  drawRefusals(state.refusals, state.services);
  list(at("tickets"), state.tickets, ticketRow);
  set("tickets-count", count(state.fitting));
  set("tickets-rest", state.fitting ? rest(state.tickets.length, state.fitting, "tickets") : "No ticket like that.");
  drawGuests(state);
  drawMails(state);
  for (const clock of document.querySelectorAll("[data-since]")) clock.textContent = lasting(since(clock.dataset.since));
}

// What changed by the pipeline's own doing, told in one line.
function tell(before, after) {
  const news = [];
  const people = after.counts.let_in - before.counts.let_in, mails = after.counts.mails - before.counts.mails;
  if (people > 0) news.push(people === 1 ? "1 person was let in" : `${count(people)} people were let in`);
  if (people < 0) news.push(people === -1 ? "1 person less is let in" : `${count(-people)} people less are let in`);
  if (mails > 0) news.push(`${plural(mails, "mail")} left`);
  if (news.length) say(`${news.join(", ")}.`);
}

let asking = false;

async function refresh() {
  if (asking) return;
  asking = true;
  try {
    const wish = new URLSearchParams({text: at("find-text").value, phase: at("find-phase").value});
    const state = await look(`desk?${wish}`);
    draw(state);
    if (last) tell(last, state);
    last = state;
    document.body.classList.remove("lost");
  } catch {
    if (!document.body.classList.contains("lost")) say("The sandbox does not answer. It was stopped, or is busy.", true);
    document.body.classList.add("lost");
    set("pulse", "The sandbox does not answer");
  } finally {
    asking = false;
  }
}

// -- what the visitor does ----------------------------------------------------------------------------

at("sell").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target), buyers = Number(event.submitter?.value || 1);
  const paid = form.get("paid") === "yes";
  order("sell_many", {event_id: Number(form.get("event_id")), buyers, paid, kind: form.get("kind")},
    `Sold ${plural(buyers, "ticket")}${paid ? "" : ", not paid yet"}.`);
});

at("add-event").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = new FormData(event.target).get("name");
  order("add_event", {name}, (id) => `Event ${id} is on sale: ${name}.`);
});

at("add-guest").addEventListener("submit", (event) => {
  event.preventDefault();
  const address = new FormData(event.target).get("address");
  order("add_guest", {address}, `${address} is on the guest list, by hand.`);
});

at("reset").addEventListener("click", async () => {
  const hint = "Every ticket, guest and mail of this sandbox is forgotten and the first sale is set up anew. "
    + "A pipeline that worked on it still remembers the old one: stop it and delete its data folder as well.";
  const sure = await ask({title: "Start again?", hint, yes: "Start again"});
  if (sure !== null) order("reset", {}, "The world is as it was in the beginning.");
});

at("find").addEventListener("submit", (event) => event.preventDefault());
at("find-text").addEventListener("input", refresh);
at("find-phase").addEventListener("change", refresh);
document.addEventListener("changed", refresh);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, PAUSE);
