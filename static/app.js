// Every page works without this file. It only adds comfort.

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

  // A press by pointer leaves the focus in the field, so that a phone keeps its keyboard open.
  button.addEventListener("mousedown", (event) => event.preventDefault());
  button.addEventListener("click", () => reveal(input.type === "password"));
  // The field is sent as a password, so that password managers offer to save it and the autofill history never keeps it.
  input.form.addEventListener("submit", () => reveal(false));
  // A page that the Back button restores must not show a password to the next user of this screen.
  addEventListener("pageshow", (event) => event.persisted && reveal(false));
  button.hidden = false;
}

// Times are shown in the time zone of this browser, as the page's language writes them.
const { lang } = document.documentElement;
const language = navigator.languages.find((preferred) => preferred.startsWith(lang)) ?? lang;
for (const time of document.querySelectorAll("time")) {
  const { dataset } = time;
  const style = { dateStyle: "clock" in dataset ? undefined : "long", timeStyle: "day" in dataset ? undefined : "short" };
  time.textContent = new Date(time.dateTime).toLocaleString(language, style);
}

// A form that comes back with errors is the response to a POST. This makes it a plain page, which can be reloaded, and which
// Back finds again, without “Confirm Form Resubmission”.
if (document.getElementById("errors")) {
  const next = document.querySelector("[name=next]")?.value;
  history.replaceState(null, "", location.pathname + (next ? "?" + new URLSearchParams({ next }) : ""));
}

// A double click sends a form once. The form can be sent again after a moment, because users press again after a lost
// connection.
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

  // The Back button can restore the page with its button still pressed.
  addEventListener("pageshow", release);
}
