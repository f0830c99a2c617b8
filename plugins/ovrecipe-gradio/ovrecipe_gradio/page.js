// What gradio has no component for: copying, following an answer, noticing a server that has gone.
(() => {
  const LOOK_EVERY_MS = 2000;
  const NEAR_END_PX = 120;
  const GONE = "The server does not answer any more. The conversation is kept in this browser.";

  async function copy(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    // Over plain http from another machine there is no clipboard to write to, only a selection.
    const box = document.body.appendChild(document.createElement("textarea"));
    box.value = text;
    box.select();
    document.execCommand("copy");
    box.remove();
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    await copy(button.dataset.text ?? button.closest(".code").querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });

  // Who reads above is left alone; who is at the end stays there while the answer grows.
  let following = true;
  const place = (selector) => document.querySelector(selector)?.getBoundingClientRect();
  const hidden = () => (place("#exchange")?.bottom ?? 0) - (place("#composer")?.top ?? 0);
  document.addEventListener("scroll", () => (following = hidden() < NEAR_END_PX));
  new MutationObserver(() => {
    if (following && hidden() > 0) window.scrollBy(0, hidden());
  }).observe(document, { childList: true, subtree: true, characterData: true });

  let misses = 0;
  async function look() {
    const alive = await fetch("gradio_api/app_id", { cache: "no-store" }).then(
      (response) => response.status < 500,
      () => false,
    );
    if (alive && misses > 1) location.reload();
    misses = alive ? 0 : misses + 1;
    const status = document.querySelector("#status .status");
    if (misses > 1 && status) {
      status.dataset.state = "gone";
      status.lastChild.textContent = GONE;
    }
  }

  setInterval(look, LOOK_EVERY_MS);
})();
