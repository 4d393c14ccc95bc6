// Two comforts; every page works without them. `/` goes to the search field, copy buttons copy.
"use strict";
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    const field = document.querySelector('input[type="search"]');
    if (field) { event.preventDefault(); field.focus(); field.select(); }
  }
});
for (const place of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button"; button.className = "copy"; button.textContent = "copy";
  button.setAttribute("aria-label", "copy " + (place.dataset.what || "the text"));
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(place.dataset.copy); button.textContent = "copied"; } catch { button.textContent = "select it"; }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  place.append(button);
}
