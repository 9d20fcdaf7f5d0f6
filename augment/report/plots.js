// The plots, drawn one after the other once the page is there; a tooltip of plain text; a click on the map opens the row.
const specs = JSON.parse(document.getElementById("charts").textContent);
const tip = document.getElementById("tip");

function pointed(_handler, event, _item, value) {
  if (value === null || value === undefined || value === "") { tip.hidden = true; return; }
  const lines = typeof value === "object" ? Object.entries(value) : [["", value]];
  tip.replaceChildren(...lines.map(([name, text]) => {
    const line = element("div");
    if (name) line.append(element("b", "", name));
    line.append(element("bdi", "", String(text)));
    return line;
  }));
  tip.hidden = false;
  const x = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8), y = event.clientY + 16;
  tip.style.left = `${Math.max(8, x)}px`;
  tip.style.top = `${y + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : y}px`;
}

async function plot(place) {
  const made = await vegaEmbed(place, specs[place.dataset.chart], {
    mode: "vega-lite", renderer: "svg", ast: true, actions: false, defaultStyle: false, tooltip: pointed,
  });
  made.view.addEventListener("click", (_event, item) => { if (item && item.datum && item.datum.row) find(item.datum.row); });
}

const idle = () => new Promise((resolve) => (window.requestIdleCallback ? requestIdleCallback(resolve, { timeout: 1000 }) : setTimeout(resolve, 50)));

const painted = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));

async function plotAll() {
  await loaded.catch(() => {}); // rows come first: reading Vega takes as long as unpacking them
  await Promise.race([painted(), new Promise((resolve) => setTimeout(resolve, 1000))]); // nothing paints in a hidden tab
  await idle();
  document.head.append(element("script", "", document.getElementById("bundle").textContent)); // the policy knows its hash
  const waiting = [...document.querySelectorAll("[data-chart]")];
  while (waiting.length) { // what is in view first, and between two plots whatever the reader does
    await idle();
    const seen = waiting.findIndex((each) => { const box = each.getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight; });
    await plot(waiting.splice(Math.max(0, seen), 1)[0]);
  }
  document.documentElement.dataset.plots = "drawn";
}
plotAll();
