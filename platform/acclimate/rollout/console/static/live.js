// Renews the parts of the page marked data-live without moving focus, scroll position or open details.
const seconds = Number(document.documentElement.dataset.refresh);
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const renew = async () => {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
  if (!answer.ok || answer.redirected) return location.reload();
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    const busy = part.contains(document.activeElement) || part.querySelector("details[open]");
    if (fresh && !busy && fresh.innerHTML !== part.innerHTML) part.replaceChildren(...fresh.childNodes);
  }
};
while (seconds > 0) {
  await wait(seconds * 1000);
  if (!document.hidden) await renew().catch(() => {}); // the service is away: try again at the next beat
}
