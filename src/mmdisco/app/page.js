// Clips side by side in sync, and columns that sort: what a page without Gradio would need too.
(() => {
  const videosOf = (one) => [...one.closest(".mm-result").querySelectorAll(".mm-clips video")];

  const hear = (section, index) =>
    section.querySelectorAll(".mm-clips video").forEach((video, at) => { video.muted = at !== index; });

  const heard = (section) => Number(section.querySelector("input[name=mm-hear]:checked")?.value ?? 0);

  const play = async (button) => {
    const section = button.closest(".mm-result");
    const videos = videosOf(button);
    videos.forEach((video) => video.pause());
    hear(section, heard(section));
    videos.forEach((video) => { video.currentTime = 0; });
    await Promise.all(videos.map((video) => video.readyState > 2 ? null
      : new Promise((done) => video.addEventListener("canplay", done, { once: true }))));
    await Promise.all(videos.map((video) => video.play()));
    const [lead, ...others] = videos;
    const follow = () => {
      if (lead.paused || !lead.isConnected) { others.forEach((video) => video.pause()); return; }
      for (const video of others) {
        const apart = Math.abs(video.currentTime - lead.currentTime);
        if (apart > 0.08 && apart < lead.duration / 2) video.currentTime = lead.currentTime;
      }
      requestAnimationFrame(follow);
    };
    follow();
  };

  const sort = (button) => {
    const head = button.closest("th");
    const table = button.closest("table");
    const column = Number(button.dataset.mmSort);
    const rising = head.getAttribute("aria-sort") !== "ascending";
    table.querySelectorAll("th").forEach((one) => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = (row) => {
      const cell = row.cells[column];  // a clip without scores has its reason in their place
      return cell?.dataset.value ?? cell?.textContent.trim() ?? "";
    };
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const numbers = !Number.isNaN(Number(x)) && !Number.isNaN(Number(y));
      return (rising ? 1 : -1) * (numbers ? Number(x) - Number(y) : x.localeCompare(y));
    };
    const body = table.tBodies[0];
    [...body.rows].sort(order).forEach((row) => body.append(row));
  };

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    const player = target?.closest("[data-mm-play]");
    const sorter = target?.closest("[data-mm-sort]");
    if (player) play(player).catch(() => undefined);
    if (sorter) sort(sorter);
  });
  document.addEventListener("change", (event) => {
    const choice = event.target;
    if (choice instanceof HTMLInputElement && choice.name === "mm-hear")
      hear(choice.closest(".mm-result"), Number(choice.value));
  });
})();
