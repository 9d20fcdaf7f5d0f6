"use strict";

// Rows come from data that nobody vouches for: every value is put on the page as text, never as markup.
const $ = (id) => document.getElementById(id);
const WORDS = { accept: "You accepted this row.", reject: "You rejected this row.", edit: "You edited this row." };
const SAID = { accept: "accepted", reject: "rejected", edit: "edited" };

let rows = []; // {id, kept, verdict}, in the order of the sample
let trail = []; // ids that were decided, the latest last
let at = 0; // the place of the row that is shown
let shown = null;
let editing = false;
let busy = false;
const known = new Map(); // rows fetched ahead

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function notice(text, fault = false) {
  $("notice").textContent = text;
  $("notice").classList.toggle("fault", fault);
}

async function ask(path, decision) {
  let answer;
  try {
    answer = await fetch(path, decision && {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(decision),
    });
  } catch {
    throw new Error("The review has ended or cannot be reached; this was not stored. Start it again in the terminal.");
  }
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function showRates(told) {
  const lines = [];
  const line = (name, each) => {
    if (!each.population) return;
    const counted = `${each.accepted} of ${each.reviewed}`;
    lines.push([name, each.reviewed ? `${percent(each.rate)} (95 % interval ${percent(each.low)} to ${percent(each.high)}; ${counted})` : "none decided yet"]);
  };
  line("kept rows accepted", told.rates.kept);
  line("rejected rows worth keeping", told.rates.rejected);
  for (const pair of told.agreement) {
    const kappa = pair.kappa === null ? "" : `, κ ${pair.kappa.toFixed(2)}`;
    lines.push([pair.reviewers.join(" and "), `agree on ${percent(pair.agreed)} of ${pair.rows} rows${kappa}`]);
  }
  $("rates").replaceChildren(...lines.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function showProgress() {
  const done = rows.filter((row) => row.verdict).length;
  $("bar").max = rows.length || 1;
  $("bar").value = done;
  $("done").textContent = `${done} of ${rows.length} decided`;
  $("undo").disabled = !trail.length;
  $("finish").hidden = done < rows.length;
}

function listed(row) {
  const which = $("which").value;
  if (which === "open") return !row.verdict;
  return which === "all" || row.kept === (which === "kept");
}

// The nearest row from `start` on, in steps of 1 or -1, that passes; -1 where there is none.
function find(start, step, passes) {
  for (let place = start; place >= 0 && place < rows.length; place += step) if (passes(rows[place])) return place;
  return -1;
}

function side(title, className, pieces, text) {
  const part = element("div", null, className);
  part.append(element("h3", title));
  const body = element("p", null, "text");
  body.dir = "auto";
  body.tabIndex = 0;
  if (pieces) {
    const mine = className === "seed" ? "-" : "+";
    for (const [kind, words] of pieces) {
      if (kind === "=") body.append(words);
      else if (kind === mine) body.append(element(kind === "-" ? "del" : "ins", words));
    }
  } else body.textContent = text ?? "";
  part.append(body);
  return part;
}

function fieldOf(field) {
  const alone = field.same || field.seed === null;
  const pair = element("div", null, alone ? "pair alone" : "pair");
  if (!alone) pair.append(side(`seed ${field.name}`, "seed", field.pieces, field.seed));
  pair.append(side(field.same ? `${field.name}, as in the seed` : field.name, "variant", alone ? null : field.pieces, field.text));
  return pair;
}

function aside(title, texts) {
  const folded = element("details", null, "aside");
  folded.append(element("summary", title));
  for (const [name, text] of texts) if (text !== null) folded.append(side(name, "variant", null, text));
  return folded;
}

function show(row) {
  shown = row;
  setEditing(false);
  $("row").hidden = false;
  $("kind").textContent = row.kept ? "kept" : "rejected";
  $("kind").className = `kind ${row.kept ? "kept" : "rejected"}`;
  $("why").textContent = row.kept ? "" : `by ${row.dropped_by}: ${row.reason}`;
  const label = row.label === null ? "" : ` · label ${row.label}`;
  const other = row.seed_label !== null && row.seed_label !== row.label ? ` (seed: ${row.seed_label})` : "";
  $("made").textContent = `row ${at + 1} of ${rows.length} · ${row.generator}${row.model ? ` by ${row.model}` : ""}${label}${other}`;
  $("verdict").textContent = WORDS[row.verdict] ?? "";
  $("verdict").className = row.verdict ?? "";
  $("note").value = row.note ?? "";
  const parts = row.fields.map(fieldOf);
  if (row.like) {
    const like = aside(`The earlier row that it was taken for a copy of (${row.like.id})`, [["prompt", row.like.prompt], ["response", row.like.response]]);
    like.open = true;
    parts.push(like);
  }
  const before = row.fields.filter((field) => field.original !== null && field.original !== field.text);
  if (before.length) parts.push(aside("Before your edit", before.map((field) => [field.name, field.original])));
  $("fields").replaceChildren(...parts);
  $("others").textContent = row.others
    .map((each) => `${each.reviewer} ${SAID[each.verdict]} it${each.note ? ` (${each.note})` : ""}`).join("; ");
  const facts = { id: row.id, ...(row.detail ? { detail: row.detail } : {}), variant: row.variant, ...row.scores };
  $("scores").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [
    element("dt", name), element("dd", typeof value === "number" ? Number(value.toFixed(4)) : String(value)),
  ]));
  $("row").dataset.id = row.id;
}

async function fetched(id) {
  if (!known.has(id)) known.set(id, ask(`/rows/${encodeURIComponent(id)}`).catch((fault) => { known.delete(id); throw fault; }));
  return known.get(id);
}

async function go(place) {
  if (place < 0) return;
  at = place;
  try {
    const row = await fetched(rows[place].id);
    if (at !== place) return;
    show(row);
    window.scrollTo(0, 0);
    const after = find(place + 1, 1, listed);
    if (after >= 0) fetched(rows[after].id).catch(() => {});
  } catch (fault) {
    notice(fault.message, true);
  }
}

function step(by) {
  if (editing || busy) return;
  notice("");
  const place = find(at + by, by, listed);
  if (place < 0) notice(by > 0 ? "That was the last row." : "That was the first row.");
  else go(place);
}

async function decide(verdict, id = shown && shown.id, texts = {}) {
  if (!id || busy) return;
  busy = true;
  const note = verdict === "undo" ? null : $("note").value.trim() || null;
  try {
    const told = await ask(`/rows/${encodeURIComponent(id)}`, { verdict, note, ...texts });
    const place = rows.findIndex((row) => row.id === id);
    rows[place].verdict = told.row.verdict;
    known.set(id, Promise.resolve(told.row));
    trail = trail.filter((each) => each !== id);
    if (verdict !== "undo") trail.push(id);
    showRates(told);
    showProgress();
    if (verdict === "undo") {
      notice("Taken back; the row is undecided.");
      await go(place);
    } else {
      notice(`Row ${place + 1} ${SAID[verdict]}.`);
      setEditing(false);
      const open = (row) => listed(row) && !row.verdict;
      const after = find(place + 1, 1, open);
      const next = after >= 0 ? after : find(0, 1, open);
      await go(next >= 0 ? next : place);
    }
  } catch (fault) {
    notice(fault.message, true);
  } finally {
    busy = false;
  }
}

function setEditing(on) {
  editing = on;
  $("judge").hidden = on;
  $("editing").hidden = !on;
}

function edit() {
  if (!shown || editing || busy) return;
  setEditing(true);
  const parts = shown.fields.filter((field) => field.original !== null).map((field) => {
    const pair = element("div", null, field.seed === null ? "pair alone" : "pair");
    if (field.seed !== null) pair.append(side(`seed ${field.name}`, "seed", null, field.seed));
    const part = element("div");
    part.append(element("h3", field.name));
    const box = element("textarea");
    box.name = field.name;
    box.setAttribute("aria-label", field.name);
    box.dir = "auto";
    box.value = field.text;
    box.rows = Math.min(14, Math.max(3, Math.ceil(field.text.length / 38)));
    part.append(box);
    pair.append(part);
    return pair;
  });
  $("fields").replaceChildren(...parts);
  const first = $("fields").querySelector("textarea");
  first.focus();
  first.setSelectionRange(first.value.length, first.value.length);
  notice("Write the text as it should be, then save.");
}

function save() {
  const boxes = [...$("fields").querySelectorAll("textarea")];
  decide("edit", shown.id, Object.fromEntries(boxes.map((box) => [box.name, box.value])));
}

function cancel() {
  if (!editing) return;
  show(shown);
  notice("");
  $("row").focus({ preventScroll: true });
}

function undo() {
  if (!editing && trail.length) decide("undo", trail[trail.length - 1]);
}

const KEYS = { a: () => decide("accept"), r: () => decide("reject"), e: edit, u: undo, n: () => $("note").focus(),
  ArrowLeft: () => step(-1), ArrowRight: () => step(1) };

document.addEventListener("keydown", (event) => {
  if (editing && event.key === "Escape") return cancel();
  if (editing && event.key === "Enter" && (event.ctrlKey || event.metaKey)) return save();
  if (event.target === $("note") && (event.key === "Enter" || event.key === "Escape")) return $("row").focus();
  const typing = event.target.matches("input, textarea, select");
  if (typing || editing || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

for (const [id, act] of Object.entries({ accept: KEYS.a, reject: KEYS.r, edit, undo, save, cancel, back: KEYS.ArrowLeft, next: KEYS.ArrowRight }))
  $(id).addEventListener("click", act);

$("which").addEventListener("change", () => {
  $("which").blur();
  if (editing || !rows.length || listed(rows[at])) return;
  const after = find(at, 1, listed);
  const place = after >= 0 ? after : find(0, 1, listed);
  if (place < 0) notice("There is no such row.");
  go(place);
});

window.addEventListener("beforeunload", (event) => {
  if (editing) event.preventDefault();
});

async function begin() {
  history.replaceState(null, "", "/"); // the token has done its work; nobody need read it over a shoulder
  try {
    const told = await ask("/rows");
    rows = told.rows;
    trail = told.trail;
    document.title = `Review of ${told.run}`;
    $("run").textContent = `Review of ${told.run}`;
    $("reviewer").textContent = `as ${told.reviewer}`;
    $("command").textContent = `augment review ${told.run} --publish`;
    showRates(told);
    showProgress();
    const open = find(0, 1, (row) => !row.verdict);
    await go(open >= 0 ? open : 0);
    $("row").focus({ preventScroll: true });
  } catch (fault) {
    notice(fault.message, true);
  }
}

begin();
