for (const table of document.querySelectorAll("table.all")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent.replaceAll(",", "");
  };
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const compare = (one, two) => {
      const a = value(one, column), b = value(two, column);
      if (a === "" || b === "") return (a === "") - (b === "");
      return (down ? -1 : 1) * (a - b || a.localeCompare(b));
    };
    body.append(...[...body.rows].sort(compare));
  }));
}
