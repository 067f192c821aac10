// Pictures: a slider between two of them, the figures of the chosen model, and the order.
(() => {
  const { models, columns, values, errors } = JSON.parse(document.getElementById("data").textContent);
  const cards = document.getElementById("cards");
  if (!cards) return;
  const control = Object.fromEntries(
    ["model", "compare", "order", "best-first", "large"].map((id) => [id, document.getElementById(id)]),
  );
  const all = [...cards.children];
  const names = { input: "input", truth: "truth" };
  models.forEach((name, index) => (names[index] = name));

  const text = (value, decimals) =>
    value === null ? "–" : String(isFinite(value) ? Number(value).toFixed(decimals) : value)
      .replace("inf", "∞").replace(/^-(?=[0.]*$)/, "").replace("-", "−");

  // The left and the right source, as `data-of` names them.
  const sides = () => {
    const [model, other] = [control.model.value, control.compare.value];
    return other === "input" ? ["input", model] : [model, other];
  };

  function place(card) {
    const frame = card.querySelector(".compare");
    const [left, right] = sides();
    const index = card.dataset.picture;
    const missing = [];
    if (frame) {
      const image = (source) => frame.querySelector(`img[data-of~="${source}"]`);
      for (const shown of frame.querySelectorAll("img")) shown.className = "";
      let [under, over] = [image(right), image(left)];
      if (!under) missing.push(names[right]);
      if (!over) missing.push(names[left]);
      if (!under) [under, over] = [over, null];
      if (under) under.className = "right";
      if (over && over !== under) over.className = "left";
      frame.classList.toggle("single", !over || over === under);
      frame.querySelector(".tag.left").textContent = names[left];
      frame.querySelector(".tag.right").textContent = under === image(right) ? names[right] : names[left];
    }
    const absent = card.querySelector(".absent");
    const lost = missing.length ? `No picture: ${missing.join(", ")}. ` : "";
    absent.textContent = lost + (errors[`${control.model.value} ${index}`] ?? "");
    absent.hidden = !absent.textContent;
    card.querySelectorAll("dl > div").forEach((entry, column) => {
      const figure = values[control.model.value][index][column];
      entry.querySelector(".value").textContent = text(figure, columns[column].decimals);
      entry.classList.toggle("sorted", control.order.value === String(column));
    });
  }

  // Lower is better; no figure is last.
  function rank(card) {
    const column = control.order.value;
    const figure = values[control.model.value][card.dataset.picture][column];
    if (figure === null) return NaN;
    const value = typeof figure === "string" ? (figure === "inf" ? Infinity : -Infinity) : figure;
    return columns[column].better ? -value : columns[column].better === null ? Math.abs(value) : value;
  }

  function sort() {
    const sign = control["best-first"].checked ? 1 : -1;
    const compare = (a, b) => {
      if (control.order.value === "") return a.dataset.picture - b.dataset.picture;
      const [x, y] = [rank(a), rank(b)];
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return x === y ? a.dataset.picture - b.dataset.picture : x < y ? -sign : sign;
    };
    cards.append(...all.slice().sort(compare));
  }

  function show() {
    all.forEach(place);
    sort();
    const column = columns[control.order.value];
    const order = column ? `, by ${column.title}, ${control["best-first"].checked ? "best" : "worst"} first` : "";
    document.getElementById("pictures-status").textContent = `Figures of ${models[control.model.value]}${order}.`;
    for (const line of document.querySelectorAll("svg [data-model]")) {
      line.classList.toggle("chosen", line.dataset.model === control.model.value);
    }
  }

  function slider(frame) {
    const range = frame.querySelector("input");
    const apply = () => frame.style.setProperty("--x", `${range.value}%`);
    const drag = (event) => {
      const box = frame.getBoundingClientRect();
      range.value = (100 * (event.clientX - box.left)) / box.width;
      apply();
    };
    range.hidden = false;
    range.addEventListener("input", apply);
    frame.addEventListener("pointerdown", (event) => {
      if (event.button || frame.classList.contains("single")) return;
      frame.setPointerCapture(event.pointerId);
      drag(event);
      range.focus({ preventScroll: true });
    });
    frame.addEventListener("pointermove", (event) => frame.hasPointerCapture(event.pointerId) && drag(event));
    frame.addEventListener("dragstart", (event) => event.preventDefault());
  }

  document.querySelector(".controls").hidden = false;
  document.querySelectorAll(".compare").forEach(slider);
  for (const id of ["model", "compare", "order", "best-first"]) control[id].addEventListener("change", show);
  control.large.addEventListener("change", () => cards.classList.toggle("large", control.large.checked));
  document.addEventListener("click", (event) => {
    const dot = event.target.closest("circle[data-picture]");
    if (!dot) return;
    control.model.value = dot.parentNode.dataset.model;
    show();
    for (const other of document.querySelectorAll("circle.same")) other.classList.remove("same");
    const same = `circle[data-picture="${dot.dataset.picture}"]`;
    for (const other of document.querySelectorAll(same)) other.classList.add("same");
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const card = document.getElementById(`picture-${dot.dataset.picture}`);
    card.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "center" });
  });
  show();
})();
