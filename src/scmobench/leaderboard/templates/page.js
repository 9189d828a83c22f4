const told = JSON.parse(document.getElementById("provenance").textContent);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const NO_CONTROLS = { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null };

// numbers in data-order, what is missing last whatever the order
const missing = (value) => value === "" || value === null;
const ordered = (sign) => (a, b) => (missing(a) || missing(b) ? missing(a) - missing(b) : sign * (a - b));
DataTable.type("place", { detect: () => false, order: { asc: ordered(1), desc: ordered(-1) } });

function table(element) {
  const kinds = all("tbody tr:first-child > *", element);
  const columns = kinds.map((cell) => (cell.dataset.order === undefined ? {} : { type: "place" }));
  const grouped = kinds[0].classList.contains("order");
  const made = new DataTable(element, {
    paging: false, info: false, searching: true, autoWidth: false, order: [], layout: NO_CONTROLS,
    columns, orderFixed: grouped ? { pre: [[0, "asc"]] } : null,
  });
  // DataTables tells screen readers of its first order alone, which here is the hidden one of groups
  const tell = () => all("thead [data-dt-column]", element).forEach((head) => {
    head.removeAttribute("aria-sort");
    const found = { asc: "ascending", desc: "descending" }[/dt-ordering-(\w+)/.exec(head.className)?.[1]];
    if (found && !head.classList.contains("order")) head.setAttribute("aria-sort", found);
  });
  made.on("draw", tell);
  tell();
  return made;
}

// mean ranks over some columns, as the table's own: of the methods with all of them, in each track, data set by data set
function meanRanks(heat, shown, rows) {
  const place = (row, column) => heat.cell(row, column).node().dataset.order;
  const track = (row) => heat.row(row).node().className;
  const set = (column) => heat.column(column).header().dataset.set;
  const sets = [...new Set(shown.map(set))].map((name) => shown.filter((column) => set(column) === name));
  const whole = rows.filter((row) => !shown.some((column) => missing(place(row, column))));
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return new Map(whole.map((row) => {
    const others = whole.filter((other) => track(other) === track(row));
    const rank = (column) => 0.5 + others.reduce((sum, other) => {
      const lead = place(row, column) - place(other, column);
      return sum + (lead > 0 ? 1 : lead < 0 ? 0 : 0.5);
    }, 0);
    return [row, mean(sets.map((columns) => mean(columns.map(rank))))];
  }));
}

function filtered(form) {
  const element = form.nextElementSibling.querySelector("table");
  const heat = table(element);
  const heads = heat.columns().indexes().toArray().map((index) => heat.column(index).header());
  const ranked = heat.rows().indexes().toArray().filter((row) => !heat.row(row).node().classList.contains("control"));
  const cell = (row) => heat.cell(row, 2).node();
  const made = new Map(ranked.map((row) => [row, [cell(row).innerHTML, cell(row).dataset.order]]));
  const rank = (shown) => {
    const found = shown && meanRanks(heat, shown, ranked);
    ranked.forEach((row) => {
      const value = found?.get(row);
      [cell(row).innerHTML, cell(row).dataset.order] = !shown ? made.get(row)
        : value === undefined ? ["—", ""] : [value.toFixed(1), value];
    });
    heat.cells(null, 2).invalidate();
  };
  let sorted = JSON.stringify(heat.order());
  const apply = () => {
    const wanted = Object.fromEntries(new FormData(form));
    element.dataset.show = wanted.show;
    heads.forEach((head, index) => {
      const { pair, size } = head.dataset;
      if (size === undefined) return;
      const fits = (!wanted.pair || wanted.pair === pair) && (!wanted.size || wanted.size === size);
      heat.column(index).visible(fits, false);
    });
    heat.columns.adjust();
    const columns = heads.flatMap((head, at) => (head.dataset.size === undefined ? [] : [at]));
    const shown = columns.filter((at) => heat.column(at).visible());
    const part = shown.length < columns.length;
    rank(part ? shown : null);
    if (JSON.stringify(heat.order()) === sorted) { // nobody chose another order
      heat.order(part ? [[2, "asc"]] : []);
      sorted = JSON.stringify(heat.order());
    }
    heat.search.fixed("rows", (_text, _row, index) => {
      const row = heat.row(index).node();
      if (wanted.free && row.classList.contains("supervised")) return false;
      return heads.some((head, at) => head.dataset.size !== undefined && heat.column(at).visible()
        && !missing(heat.cell(index, at).node().dataset.order));
    });
    heat.draw();
  };
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply(); // a browser may keep what was chosen before
}

all("form.filters").forEach(filtered);
all("details").forEach((details) => details.addEventListener("toggle", () => {
  if (!details.open) return;
  all("table.sortable", details).filter((t) => !DataTable.isDataTable(t) && t.closest("details") === details).forEach(table);
}));
all("#published table.sortable").forEach(table);

const tabs = all("[role=tab]");
function follow(move) {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const chosen = target?.closest(".tab") || document.querySelector(".tab");
  all(".tab").forEach((tab) => { tab.hidden = tab !== chosen; });
  tabs.forEach((tab) => {
    const here = tab.hash === `#${chosen.id}`;
    tab.setAttribute("aria-selected", here);
    tab.tabIndex = here ? 0 : -1;
  });
  for (let up = target; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
  if (move && target && target !== chosen) target.scrollIntoView();
  else if (move) scrollTo(0, 0);
}
addEventListener("hashchange", () => follow(true));
document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.focus();
  next.click();
});
follow(Boolean(location.hash));

const dialog = document.getElementById("origin");
const made = (tag, text, ...children) => {
  const element = document.createElement(tag);
  if (text !== null) element.textContent = text;
  element.append(...children);
  return element;
};
function origin(panel, method) {
  const run = told.runs[panel]?.[method];
  const where = document.getElementById(panel);
  dialog.querySelector("h2").textContent = method;
  const body = dialog.querySelector("div");
  const set = where.closest("details").querySelector("h4").textContent;
  body.replaceChildren(made("p", `${where.querySelector("h5").textContent}, ${set}`));
  if (run) {
    const link = (text, value) => made("div", null, made("dt", text), made("dd", value));
    const list = made("dl", null,
      link("seeds", run.seeds.join(", ")), link("settings", `${run.config.join(", ")}: ${run.overrides.join(" ")}`),
      link("data", where.dataset.hash), link("code", run.commit || "commit not in these records"),
      link("software", run.versions.map((at) => Object.entries(told.versions[at]).map((pair) => pair.join(" ")).join(", ")).join(" | ")),
      ...["device", "threads", "arithmetic", "tuning"].filter((key) => run[key]).map((key) => link(key, run[key])));
    const configs = run.config.map((hash) => made("pre", JSON.stringify(told.configs[hash], null, 1)));
    const copy = made("button", "Copy");
    copy.addEventListener("click", async () => {
      await navigator.clipboard?.writeText(run.command);
      copy.textContent = "Copied";
      setTimeout(() => { copy.textContent = "Copy"; }, 1000);
    });
    if (run.command) body.append(made("h3", "Make it again"), made("pre", run.command), copy);
    body.append(made("h3", "Where it comes from"), list, made("details", null, made("summary", "All settings"), ...configs));
  } else {
    body.append(made("p", "This is a mean over the directions; each direction has its own runs."));
  }
  const more = made("a", "Open this data set");
  more.href = `#${panel}`;
  more.addEventListener("click", () => dialog.close());
  body.append(made("p", null, more));
  dialog.showModal();
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-panel]");
  if (button) origin(button.dataset.panel, button.dataset.method);
  else if (event.target === dialog) dialog.close();
});
