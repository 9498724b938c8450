// Comfort only: every page works without this file.

// Show and Hide on a password field. The words come from the page, in its language.
for (const button of document.querySelectorAll("[data-pw]")) {
  const input = document.getElementById(button.getAttribute("aria-controls"));
  const status = document.getElementById(button.dataset.pw);
  const { show, hide, showLabel, hideLabel, shown, hidden } = button.dataset;

  const reveal = (visible) => {
    input.type = visible ? "text" : "password";
    button.textContent = visible ? hide : show;
    button.setAttribute("aria-label", visible ? hideLabel : showLabel);
    status.textContent = visible ? shown : hidden;
  };

  // A press by pointer leaves the focus in the field, so a phone keeps its keyboard up.
  button.addEventListener("mousedown", (event) => event.preventDefault());
  button.addEventListener("click", () => reveal(input.type === "password"));
  // Sent as a password, so that managers offer to save it and autofill history never does.
  input.form.addEventListener("submit", () => reveal(false));
  // A page brought back by the Back button must not show a password to whoever looks now.
  addEventListener("pageshow", (event) => event.persisted && reveal(false));
  button.hidden = false;
}

// Times in the time zone of this browser, written the way of the page's language.
const { lang } = document.documentElement;
const language = navigator.languages.find((theirs) => theirs.startsWith(lang)) ?? lang;
for (const time of document.querySelectorAll("time")) {
  const style = { dateStyle: "long", timeStyle: "day" in time.dataset ? undefined : "short" };
  time.textContent = new Date(time.dateTime).toLocaleString(language, style);
}

// A form that comes back with errors is an answer to a POST. As a plain page it can be reloaded, and Back finds it again,
// without “Confirm Form Resubmission”.
if (document.getElementById("errors")) {
  const next = document.querySelector("[name=next]")?.value;
  history.replaceState(null, "", location.pathname + (next ? "?" + new URLSearchParams({ next }) : ""));
}

// A double click sends a form once. Not for ever: after a lost connection people press again.
for (const form of document.forms) {
  let sent = false;

  const release = () => {
    sent = false;
    for (const button of form.querySelectorAll("[aria-disabled]")) button.removeAttribute("aria-disabled");
  };

  form.addEventListener("submit", (event) => {
    if (sent) return event.preventDefault();
    sent = true;
    // Not `disabled`, which would drop the focus and the button's own name and value.
    event.submitter?.setAttribute("aria-disabled", "true");
    setTimeout(release, 4000);
  });

  // The Back button can restore the page as it was left: pressed.
  addEventListener("pageshow", release);
}
