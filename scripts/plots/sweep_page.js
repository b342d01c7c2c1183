
"use strict";
// Tables are sorted by a click on a column's name: what is a number as one, empty cells last.
for (const table of document.querySelectorAll("table.sortable")) {
  table.classList.add("live");
  const heads = [...table.tHead.rows[0].cells];
  const sort = (head) => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    const key = (row) => row.cells[heads.indexOf(head)].dataset.key;
    const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
      return compare(key(a), key(b)) * (up ? 1 : -1);
    });
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    table.tBodies[0].append(...rows);
  };
  for (const head of heads) {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(head));
    head.addEventListener("keydown", (event) => event.key === "Enter" && sort(head));
  }
}

// Pictures are chosen with the selects above them; the address holds the choice: report.html#measure=grad_norm&by=optimizer.beta1
const selects = [...document.querySelectorAll(".chooser select")];
const show = () => {
  for (const figure of document.querySelectorAll("figure")) {
    figure.hidden = selects.some((one) => one.name in figure.dataset && one.value !== "all" && figure.dataset[one.name] !== one.value);
  }
};
const read = () => {
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const one of selects) {
    if ([...one.options].some((option) => option.value === wanted.get(one.name))) one.value = wanted.get(one.name);
  }
  show();
  const target = location.hash.includes("=") ? null : document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
for (const form of document.querySelectorAll(".chooser")) form.hidden = false;
for (const one of selects) {
  one.addEventListener("change", () => {
    location.replace("#" + new URLSearchParams(selects.map((each) => [each.name, each.value])));
  });
}
addEventListener("hashchange", read);
read();
