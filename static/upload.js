// Pushes files from the browser: one collection, a file at a time, a broken transfer continues where the server stands.
"use strict";
const form = document.getElementById("push");
if (form) {
  form.hidden = false;
  const field = (name) => form.elements[name];
  const list = document.getElementById("chosen");
  const state = document.getElementById("push-state");
  const drop = document.getElementById("drop");
  const chosen = new Map();

  const size = (bytes) => {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (bytes >= 1000 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
    return (unit ? bytes.toPrecision(3) : bytes) + " " + units[unit];
  };

  const add = (path, file) => {
    if (/(^|\/)(\.git|\.cache|\.DS_Store)(\/|$)/.test(path) || chosen.has(path)) return;
    const item = document.createElement("li");
    const name = document.createElement("span");
    const bar = document.createElement("progress");
    const note = document.createElement("span");
    name.textContent = path; name.className = "mono"; bar.max = Math.max(file.size, 1); bar.value = 0;
    bar.setAttribute("aria-label", path); note.textContent = size(file.size); note.className = "soft small";
    item.append(name, bar, note); list.append(item);
    chosen.set(path, { file, bar, note });
    const total = [...chosen.values()].reduce((sum, one) => sum + one.file.size, 0);
    state.textContent = chosen.size + " files, " + size(total);
  };

  // A folder's name is not part of its files' paths.
  const below = (path) => path.split("/").slice(1).join("/") || path;
  for (const input of [field("files"), field("folder")]) {
    input.addEventListener("change", () => {
      for (const file of input.files) add(file.webkitRelativePath ? below(file.webkitRelativePath) : file.name, file);
    });
  }

  const walk = async (entry, path) => {
    if (entry.isFile) {
      add(path, await new Promise((done, failed) => entry.file(done, failed)));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const entries = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!entries.length) return;
      for (const child of entries) await walk(child, path ? path + "/" + child.name : child.name);
    }
  };
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault(); drop.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
    for (const entry of entries) await walk(entry, entry.isDirectory ? "" : entry.name);
  });

  const ask = async (method, url, body) => {
    const headers = { "X-Form-Token": field("csrf").value, "Content-Type": "application/json" };
    const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    let read = {};
    try { read = JSON.parse(text); } catch { /* an empty answer */ }
    if (!answer.ok) throw new Error(read.detail || answer.statusText);
    return read;
  };

  const transfer = (url, one, offset) => new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("PUT", url);
    request.setRequestHeader("X-Form-Token", field("csrf").value);
    if (offset) request.setRequestHeader("Content-Range", `bytes ${offset}-${one.file.size - 1}/${one.file.size}`);
    request.upload.onprogress = (event) => { one.bar.value = offset + event.loaded; };
    request.onload = () => {
      if (request.status < 300) { done(); return; }
      let reason = request.statusText;
      try { reason = JSON.parse(request.responseText).detail || reason; } catch { /* no problem document */ }
      failed(Object.assign(new Error(reason), { final: request.status < 500 }));
    };
    request.onerror = () => failed(new Error("the connection broke"));
    request.send(offset ? one.file.slice(offset) : one.file);
  });

  const send = async (base, upload, path, one) => {
    const url = `${base}/files/${path.split("/").map(encodeURIComponent).join("/")}?upload=${upload}`;
    for (let attempt = 0; ; attempt += 1) {
      try {
        let offset = 0;
        if (attempt) {
          const answer = await fetch(url, { method: "HEAD" });
          offset = Number(answer.headers.get("Upload-Offset") || 0);
        }
        if (!attempt || offset < one.file.size) await transfer(url, one, offset);
        one.bar.value = one.bar.max; one.note.textContent = "sent";
        return;
      } catch (error) {
        if (error.final || attempt === 4) throw error;
        one.note.textContent = "again, from where it broke";
        await new Promise((done) => setTimeout(done, 1000 * (attempt + 1)));
      }
    }
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button.primary");
    if (!chosen.size) { state.textContent = "Choose files first."; return; }
    button.disabled = true;
    try {
      const base = "/api/v1/models/" + field("model").value.trim().split("/").map(encodeURIComponent).join("/");
      await ask("PUT", base, { visibility: field("private").checked ? "private" : null });
      const { upload } = await ask("POST", base + "/uploads", {});
      let number = 0;
      for (const [path, one] of chosen) {
        number += 1;
        state.textContent = `Sending ${number} of ${chosen.size}: ${path}`;
        await send(base, upload, path, one);
      }
      state.textContent = "Publishing…";
      await ask("POST", `${base}/uploads/${upload}/commit`, { message: field("message").value || `Push ${chosen.size} files` });
      location.assign("/" + field("model").value.trim());
    } catch (error) {
      state.textContent = "It did not work: " + error.message;
      button.disabled = false;
    }
  });
}
