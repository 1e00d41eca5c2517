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
