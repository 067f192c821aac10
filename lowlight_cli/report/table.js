"use strict";
// Tables whose heads sort: a button in each head, `aria-sort` on the one that does; cells without a figure stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];

  const key = (row, column, text) => {
    const value = row.cells[column].dataset.value ?? "";
    return text ? value : value === "" ? NaN : Number(value);
  };

  const sort = (head, direction) => {
    const text = head.dataset.sort === "text";
    const sign = direction === "ascending" ? 1 : -1;
    const compare = (a, b) => {
      const [x, y] = [key(a, head.cellIndex, text), key(b, head.cellIndex, text)];
      if (text) return sign * x.localeCompare(y, "en", { numeric: true });
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return x === y ? 0 : x < y ? -sign : sign;
    };
    body.append(...[...body.rows].sort(compare));
    for (const other of table.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    const status = document.getElementById("table-status");
    status.textContent = `Sorted by ${head.querySelector(".title").textContent}, ${direction}.`;
  };

  for (const head of table.querySelectorAll("[data-sort]")) {
    const first = head.dataset.sort === "text" ? "ascending" : head.dataset.sort;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.prepend(button);
    button.addEventListener("click", () => {
      const turned = first === "ascending" ? "descending" : "ascending";
      sort(head, head.getAttribute("aria-sort") === first ? turned : first);
    });
  }
}
