// What the pages do by themselves. Everything works without it; this only saves a step.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}

async function copy(button) {
  const text = button.parentElement.querySelector("code").textContent;
  const before = button.firstChild.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.firstChild.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    button.firstChild.textContent = "Press Ctrl-C";
  }
  setTimeout(() => { button.firstChild.textContent = before; }, 2000);
}

// A link from a mail or a chat arrives without the session's cookie. A question from here has it.
const next = document.querySelector("form[data-next] input[name=next]");
if (next && next.value !== "/") {
  fetch("/log-in/there", { redirect: "manual" }).then((answer) => {
    if (answer.status === 204) location.replace(next.value);
  });
}

// What is under way is looked at again, in its place; once it is over, the whole page is.
for (const part of document.querySelectorAll("[data-live]")) look(part);

async function look(part) {
  await new Promise((resolve) => setTimeout(resolve, Number(part.dataset.live)));
  const answer = await fetch(location.href, { redirect: "error" }).catch(() => null);
  if (!answer || !answer.ok) return look(part);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const now = page.getElementById(part.id);
  if (!now || !now.dataset.live) return location.reload();
  if (!part.contains(document.activeElement)) part.replaceChildren(...now.childNodes);
  return look(part);
}
