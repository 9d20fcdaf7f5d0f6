// The rows: unpacked part by part into columns, filtered, searched, and drawn only where they are seen.
const HEIGHT = 56;
const SEED = "seed";
const rows = {
  n: 0, run: [], id: [], parent: [], lost: new Map(), generator: [], label: [], verdict: [], made: [], variant: [],
  prompt: [], response: [], long: new Map(), rare: new Map(), shots: new Map(), tokens: [[], []], scores: new Map(),
};
const known = { run: [], generator: [], label: [], verdict: [], made: [] };
let abouts = [], order = [], chosen = -1;

const numbered = (name, values) => values.map((value) => {
  const key = JSON.stringify(value);
  let place = known[name].findIndex((each) => JSON.stringify(each) === key);
  if (place < 0) place = known[name].push(value) - 1;
  return place;
});

async function unpack(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function add(part, about, run, first) {
  const base = rows.n, n = part.id.length;
  for (let i = 0; i < n; i += 1) {
    rows.run.push(run);
    rows.id.push(part.id[i] || "");
    rows.parent.push(part.parent[i] < 0 ? -1 : first + part.parent[i]);
    rows.generator.push(part.generator[i] === null ? -1 : about.numbers.generator[part.generator[i]]);
    rows.label.push(part.label[i] === null ? -1 : about.numbers.label[part.label[i]]);
    rows.verdict.push(part.verdict[i] === null ? -1 : about.numbers.verdict[part.verdict[i]]);
    rows.made.push(part.made[i] === null ? null : about.made[part.made[i]]);
    rows.variant.push(part.variant[i]);
    rows.prompt.push(part.prompt[i] || "");
    rows.response.push(part.response[i]);
    rows.tokens[0].push(part.tokens[0][i]);
    rows.tokens[1].push(part.tokens[1][i]);
  }
  for (const name of ["lost", "long", "rare", "shots"]) for (const [row, value] of Object.entries(part[name] || {})) rows[name].set(base + Number(row), value);
  for (const [name, values] of Object.entries(part.scores)) {
    if (!rows.scores.has(name)) rows.scores.set(name, new Map());
    rows.scores.get(name).set(base, values);
  }
  rows.n += n;
}

async function load() {
  abouts = [...document.querySelectorAll("script.about")].map((each) => JSON.parse(each.textContent));
  for (const about of abouts) {
    known.run.push(about.run);
    about.numbers = {};
    for (const name of ["generator", "label", "verdict"]) about.numbers[name] = numbered(name, about[name]);
  }
  const firsts = [];
  for (const part of document.querySelectorAll("script.part")) {
    const run = Number(part.dataset.run);
    if (firsts[run] === undefined) firsts[run] = rows.n;
    add(await unpack(part.textContent), abouts[run], run, firsts[run]);
    part.remove();
  }
  for (const [name, pieces_] of rows.scores) { // one array a score: NaN where a row has none
    const whole = new Float64Array(rows.n).fill(NaN);
    for (const [base, values] of pieces_) values.forEach((value, i) => { if (value !== null) whole[base + i] = value; });
    rows.scores.set(name, whole);
  }
}

const kindOf = (row) => (rows.verdict[row] >= 0 ? "dropped" : known.generator[rows.generator[row]] === SEED ? "seed" : "kept");
const answerOf = (row) => (rows.response[row] === 0 ? rows.response[rows.parent[row]] : rows.response[row]) || "";
const byId = (name) => document.getElementById(name);

function tester(term) {
  const lower = term.toLowerCase();
  if (lower === term.toUpperCase()) return (text) => text.includes(term); // no letters that have a case
  const pattern = new RegExp(term.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"), "i");
  return (text) => pattern.test(text);
}

function found(query) {
  let hits = null;
  for (const term of query.split(/\s+/).filter(Boolean)) {
    const test = tester(term), answers = new Uint8Array(rows.n), hit = new Uint8Array(rows.n);
    for (let i = 0; i < rows.n; i += 1) {
      const answer = rows.response[i];
      answers[i] = answer === 0 ? answers[rows.parent[i]] : answer !== null && test(answer) ? 1 : 0;
      hit[i] = (!hits || hits[i]) && (answers[i] || test(rows.prompt[i]) || rows.id[i].startsWith(term)) ? 1 : 0;
    }
    hits = hit;
  }
  return hits;
}

function filter() {
  const value = (name) => byId(name).value;
  const [run, generator, label, verdict] = ["run", "generator", "label", "verdict"].map((name) => (value(`filter-${name}`) === "" ? null : Number(value(`filter-${name}`))));
  const kind = value("filter-kind"), scores = rows.scores.get(value("filter-score"));
  const low = value("filter-low") === "" ? null : Number(value("filter-low")), high = value("filter-high") === "" ? null : Number(value("filter-high"));
  const by = verdict !== null && known.verdict[verdict];
  const hits = found(value("search"));
  order = [];
  for (let i = 0; i < rows.n; i += 1) {
    if (run !== null && rows.run[i] !== run) continue;
    if (generator !== null && rows.generator[i] !== generator) continue;
    if (label !== null && rows.label[i] !== label) continue;
    if (by && (rows.verdict[i] < 0 || (rows.verdict[i] !== verdict && !(by[1] === null && known.verdict[rows.verdict[i]][0] === by[0])))) continue;
    if (kind && kindOf(i) !== kind) continue;
    if (scores && (low !== null || high !== null) && !(scores[i] >= (low ?? -Infinity) && scores[i] <= (high ?? Infinity))) continue;
    if (hits && !hits[i]) continue;
    order.push(i);
  }
  const sort = value("order");
  if (scores && sort) {
    const sign = sort === "up" ? 1 : -1;
    order = order.filter((i) => !Number.isNaN(scores[i])).sort((a, b) => sign * (scores[a] - scores[b]) || a - b);
  }
  byId("count").textContent = told();
  byId("list").scrollTop = 0;
  draw(true);
}

function told() {
  const whole = abouts.reduce((sum, about) => sum + about.rows, 0);
  const count = (n) => n.toLocaleString("en");
  const part = rows.n < whole ? `; the page holds ${count(rows.n)} of the ${count(whole)} rows, by whole families` : "";
  return `${count(order.length)} of ${count(rows.n)} rows${part}`;
}

function draw(anew = false) {
  const list = byId("list"), strip = byId("strip");
  strip.style.height = `${order.length * HEIGHT}px`;
  const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 4);
  const last = Math.min(order.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + 4);
  const there = new Map(anew ? [] : [...strip.children].map((each) => [Number(each.dataset.place), each]));
  const wanted = [];
  for (let place = first; place < last; place += 1) wanted.push(there.get(place) || drawn(place));
  strip.replaceChildren(...wanted);
  for (const each of wanted) each.setAttribute("aria-selected", String(order[Number(each.dataset.place)] === chosen));
  const active = wanted.find((each) => order[Number(each.dataset.place)] === chosen);
  if (active) list.setAttribute("aria-activedescendant", active.id); else list.removeAttribute("aria-activedescendant");
}

function drawn(place) {
  const row = order[place], kind = kindOf(row), made = element("div", `row ${kind}`);
  made.id = `row-${row}`;
  made.dataset.place = place;
  made.style.top = `${place * HEIGHT}px`;
  made.setAttribute("role", "option");
  made.setAttribute("aria-setsize", order.length);
  made.setAttribute("aria-posinset", place + 1);
  const line = element("div", "line");
  line.dir = "auto";
  if (pictured(row)) made.classList.add("pictured");
  const text = rows.prompt[row].slice(0, 400), parent = rows.parent[row];
  if (!text) line.append(absent(row));
  else if (parent >= 0 && rows.prompt[parent]) marked(line, rows.prompt[parent].slice(0, 400), text, { removed: false });
  else line.textContent = text;
  const tags = element("div", "tags");
  tags.append(element("bdi", "", known.generator[rows.generator[row]] ?? "source"));
  if (rows.label[row] >= 0) tags.append(" · ", element("bdi", "", known.label[rows.label[row]]));
  if (rows.verdict[row] >= 0) tags.append(" · ", element("bdi", "tag-dropped", `✕ ${known.verdict[rows.verdict[row]].filter(Boolean).join(": ")}`));
  const name = byId("filter-score").value, scores = rows.scores.get(name);
  if (scores && !Number.isNaN(scores[row])) tags.append(` · ${name} ${scores[row]}`);
  if (abouts.length > 1) tags.append(" · ", element("bdi", "", known.run[rows.run[row]]));
  if (pictured(row)) made.append(beside(row));
  made.append(line, tags);
  return made;
}

function choose(row, { scroll = true } = {}) {
  chosen = row;
  const place = order.indexOf(row), list = byId("list");
  if (scroll && place >= 0) {
    const top = place * HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
  }
  draw();
  show(row);
}

function familyOf(row) {
  const root = rows.parent[row] >= 0 ? rows.parent[row] : row, lost = rows.lost.get(row);
  const kin = [];
  const same = (each) => each === root || rows.parent[each] === root || (lost !== undefined && rows.lost.get(each) === lost && rows.run[each] === rows.run[row]);
  for (let i = row; i >= 0 && same(i); i -= 1) kin.unshift(i); // a family's rows lie side by side
  for (let i = row + 1; i < rows.n && same(i); i += 1) kin.push(i);
  return kin;
}

function show(row) {
  const detail = byId("detail"), kin = familyOf(row), variants = kin.filter((each) => rows.parent[each] >= 0 || rows.lost.has(each)).length;
  const title = element("h3", "", variants ? `A seed and ${variants} of its variants` : "A row without variants");
  detail.replaceChildren(title, ...kin.map((each) => member(each, each === row)));
  const current = detail.querySelector(".chosen");
  detail.scrollTop = current && kin.indexOf(row) > 0 ? Math.max(0, current.offsetTop - detail.offsetTop - 60) : 0;
}

function member(row, isChosen) {
  const made = element("div", `member ${kindOf(row)}${isChosen ? " chosen" : ""}`), parent = rows.parent[row];
  const head = element("div", "head");
  head.append(element("bdi", "", known.generator[rows.generator[row]] ?? "source"));
  if (rows.label[row] >= 0) head.append(element("bdi", "", known.label[rows.label[row]]));
  if (rows.verdict[row] >= 0) head.append(element("bdi", "tag-dropped", `✕ ${known.verdict[rows.verdict[row]].filter(Boolean).join(": ")}`));
  head.append(element("code", "", rows.id[row]));
  made.append(head);
  if (pictured(row)) made.append(beside(row));
  made.append(textOf(row, "prompt", rows.prompt[row], parent >= 0 ? rows.prompt[parent] : null));
  if (rows.response[row] === 0) made.append(element("div", "answer", "the seed's answer"));
  else if (rows.response[row]) made.append(textOf(row, "response", answerOf(row), parent >= 0 ? answerOf(parent) : null));
  if (rows.lost.has(row)) made.append(element("div", "cut", `its seed ${rows.lost.get(row)} is not in the dataset`));
  made.append(facts(row));
  return made;
}

const held = (row) => ["contamination", "exam_image"].includes((known.verdict[rows.verdict[row]] || [])[0]);
const absent = (row) => element("span", "cut", held(row) ? "not shown: too like the exam" : pictured(row) ? "no caption" : "no text");
const pictured = (row) => Boolean(abouts[rows.run[row]].pictured);

function beside(row) { // the parent's picture and the row's own, as far as the page holds them
  const made = element("div", "shots");
  if (!rows.shots.has(row)) return made;
  for (const each of [rows.parent[row], row]) {
    if (each < 0 || !rows.shots.has(each)) continue;
    const image = element("img", `shot ${kindOf(each)}`);
    image.src = `data:image/webp;base64,${rows.shots.get(each)}`;
    image.alt = [known.generator[rows.generator[each]] ?? "source", known.label[rows.label[each]], rows.prompt[each].slice(0, 90)].filter(Boolean).join(", ");
    made.append(image);
  }
  return made;
}

function textOf(row, name, text, before) {
  const made = element("div", `text ${name === "response" ? "answer" : ""}`);
  made.dir = "auto";
  if (!text) made.append(absent(row));
  else if (before) marked(made, before, text);
  else made.textContent = text;
  const whole = (rows.long.get(row) || {})[name];
  if (whole) made.append(element("div", "cut", `… ${(whole - text.length).toLocaleString("en")} more characters are in the run's files`));
  return made;
}

function facts(row) {
  const made = element("details"), list = element("dl");
  made.append(element("summary", "", "scores and origin"), list);
  made.addEventListener("toggle", () => {
    if (!made.open || list.children.length) return;
    const add_ = (name, value) => { if (value !== null && value !== undefined && value !== "") list.append(element("dt", "", name), element("dd", "", String(value))); };
    for (const [name, value] of Object.entries(rows.rare.get(row) || {})) add_(name, value);
    for (const [name, values] of rows.scores) if (!Number.isNaN(values[row])) add_(name, values[row]);
    const origin = rows.made[row];
    if (origin) ["engine", "model", "revision", "template", "params"].forEach((name, i) => add_(name, origin[i]));
    add_("variant", rows.parent[row] >= 0 ? rows.variant[row] : null);
    add_("tokens in", rows.tokens[0][row]);
    add_("tokens out", rows.tokens[1][row]);
    add_("run", known.run[rows.run[row]]);
    add_("tell more", `augment explain ${rows.id[row]}`);
  });
  return made;
}

function options(name, values, all = "all") {
  byId(name).replaceChildren(...[["", all], ...values].map(([value, text]) => {
    const made = element("option", "", text);
    made.value = value;
    return made;
  }));
}

function choices() {
  const counted = (column) => { const counts = new Map(); for (const each of column) counts.set(each, (counts.get(each) || 0) + 1); return counts; };
  for (const name of ["run", "generator", "label"]) {
    const counts = counted(rows[name]);
    options(`filter-${name}`, known[name].map((text, i) => [i, `${String(text).slice(0, 60)} (${(counts.get(i) || 0).toLocaleString("en")})`]));
  }
  const counts = counted(rows.verdict), verdicts = [];
  for (const by of [...new Set(known.verdict.map((each) => each[0]))]) { // a filter, then its reasons
    const its = known.verdict.map((each, i) => [each, i]).filter(([each]) => each[0] === by);
    if (its.length > 1) {
      const whole = its.reduce((sum, [, i]) => sum + (counts.get(i) || 0), 0);
      let any = known.verdict.findIndex((each) => each[0] === by && each[1] === null);
      if (any < 0) any = known.verdict.push([by, null]) - 1;
      verdicts.push([any, `${by} (${whole.toLocaleString("en")})`]);
    }
    for (const [each, i] of its) if (each[1] !== null || its.length === 1) verdicts.push([i, `${each.filter(Boolean).join(": ").slice(0, 70)} (${(counts.get(i) || 0).toLocaleString("en")})`]);
  }
  options("filter-verdict", verdicts);
  options("filter-score", [...rows.scores.keys()].map((name) => [name, name]), "none");
  byId("label-run").hidden = abouts.length < 2;
}

function listen() {
  const list = byId("list"), form = document.querySelector(".filters");
  let waiting = 0;
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); };
  form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("input", (event) => (event.target.tagName === "SELECT" ? filter() : soon()));
  list.addEventListener("scroll", () => requestAnimationFrame(() => draw()), { passive: true });
  new ResizeObserver(() => draw()).observe(list);
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row) choose(order[Number(row.dataset.place)], { scroll: false });
  });
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / HEIGHT) - 1), last = order.length - 1, here = order.indexOf(chosen);
    const moves = { ArrowDown: here + 1, ArrowUp: here - 1, PageDown: here + page, PageUp: here - page, Home: 0, End: last };
    if (event.key === "Enter") { byId("detail").focus(); event.preventDefault(); return; }
    if (!(event.key in moves) || last < 0) return;
    event.preventDefault();
    choose(order[Math.min(last, Math.max(0, moves[event.key]))]);
  });
  byId("detail").addEventListener("keydown", (event) => { if (event.key === "Escape") list.focus(); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    event.preventDefault();
    byId("search").focus();
    byId("search").scrollIntoView({ block: "center" });
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-filter]"), shown = event.target.closest("[data-find]");
    if (link) narrow(JSON.parse(link.dataset.filter));
    if (shown) find(shown.dataset.find);
  });
}

function narrow(wanted) { // what a link of a table asks for: {generator: name} or {verdict: "filter\nreason"}
  document.querySelector(".filters").reset();
  for (const [name, value] of Object.entries(wanted)) {
    const place = known[name].findIndex((each) => (name === "verdict" ? each.join("\n") : each) === value);
    byId(`filter-${name}`).value = place < 0 ? "" : String(place);
  }
  filter();
  if (order.length) choose(order[0]);
}

function find(id) { // a row of the map, wherever it is
  const row = rows.id.indexOf(id);
  if (row < 0) return;
  document.querySelector(".filters").reset();
  filter();
  choose(row);
  byId("rows").scrollIntoView();
}

for (const each of document.querySelectorAll(".example .marked")) {
  const text = each.textContent;
  each.textContent = "";
  marked(each, each.dataset.old, text);
}
let loaded = Promise.resolve();
if (byId("list")) {
  loaded = load().then(() => {
    choices();
    listen();
    filter();
    if (order.length) choose(order[0]);
    document.documentElement.dataset.rows = rows.n;
    performance.mark("rows");
  }, (error) => { byId("count").textContent = `the rows cannot be unpacked: ${error.message}`; throw error; });
} else document.documentElement.dataset.rows = 0;
