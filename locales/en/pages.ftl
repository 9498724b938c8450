# Every page.

skip = Skip to main content
# Before the title of a page with errors, and before each error for those who hear it.
error-mark = Error:{ " " }
# $site (String)
about = { $site } account
development-mail = Development email:
open-the-mailbox = open the mailbox
# On every page of a site that is tried out without TLS on a private network.
insecure-lan = Not encrypted
insecure-lan-warning = This connection is not encrypted: others on this network can read your password. For testing only.

# Words that many pages share. A link, its page's title and its heading are one message.

sign-up = Create account
log-in = Log in
log-out = Log out
# $username (String)
logged-in-as = Logged in as { $username }
reset-password = Reset your password
change-password = Change password
profile = Profile
security = Security
email = Email address
username = Username
username-hint = 3–32 letters, numbers, or - _ .
full-name = Full name (optional)
password = Password
current-password = Current password
new-password = New password
# $least (Number)
password-hint = { $least } characters or more. Three random words work well.
account = Account
forgot-password = Forgot password?
send-again = Send again
look-in-spam = Nothing after a minute? Check your spam folder, or send it again.
mail-waits = Our mail server has not taken the email yet.
# $time (Element)
mail-waits-until = Our mail server has not taken the email yet; next attempt at { $time }.
page-updates = This page updates itself every 30 seconds.
stop-updating = Stop updating
update-page = Update this page
wrong-address = Wrong address?
start-again = Start again
there-is-a-problem = There is a problem
change = Change
cancel = Cancel
save = Save

# The button in a password field. The field is one of the three that follow.
show = Show
hide = Hide
show-password = Show password
hide-password = Hide password
show-current-password = Show current password
hide-current-password = Hide current password
show-new-password = Show new password
hide-new-password = Hide new password
password-is-visible = Your password is visible
password-is-hidden = Your password is hidden

# The first page.

welcome = Welcome
# $site (Element)
home-lead = Manage your { $site } account.

# Creating an account.

have-an-account = Already have an account?
check-your-mail = Check your email
# $email (Element)
signup-sent = We emailed a link to { $email }. Open it to finish creating your account.
# $email (Element)
signup-waits = We will email a link to { $email }. Open it to finish creating your account.
signup-sent-somewhere = If you just signed up, we emailed you a link. Open it to finish creating your account.
confirm-email = Confirm your email address
# $email (Element)
# $username (Element)
confirm-lead = Confirm to create your account with { $email } (username { $username }).
confirm-elsewhere = For your security, choose your password here. The one entered before is not used.
# $email (Element)
confirm-lead-taken = Confirm to create your account with { $email }.
create-my-account = Create my account
link-is-gone = This link no longer works
signup-link-is-gone = It has been used, is more than 24 hours old, or is incomplete. Already confirmed? Log in.
no-account-yet = No account yet?
signup-is-closed = Sign-up is closed
signup-is-closed-lead = New accounts can't be created right now. If you have an account, log in.

# Logging in.

email-or-username = Email or username
keep-me-logged-in = Keep me logged in on this device
new-here = New here?
not-sure-of-password = Not sure of your password?

# Getting back in.

reset-lead = Enter your email and we'll send you a link to reset your password.
email-me-a-link = Email me a link
remembered-it = Remembered it?
# $email (Element)
reset-sent = If { $email } has an account, a link is on its way. It works for 1 hour.
# $email (Element)
reset-waits = If { $email } has an account, we will email a link to it. The link works for 1 hour.
reset-sent-somewhere = If the address has an account, a link is on its way. It works for 1 hour.
choose-new-password = Choose a new password
save-new-password = Save new password
reset-link-is-gone = It has been used, is more than 1 hour old, is incomplete, or we have sent you a newer one.
email-me-a-new-link = Email me a new link
know-your-password = Know your password?
another-account = This link is for another account
# $current (Element) - who is logged in here
# $other (Element) - whose link it is
another-account-lead = You are logged in as { $current }. The link lets you choose a new password for { $other }.
another-account-choice = To use it, log out first. If you didn't ask for this link, stay logged in: nothing changes.
log-out-and-go-on = Log out and continue
stay-logged-in = Stay logged in

# Profile.

your-account = Your account
full-name-row = Full name
not-given = Not given
member-since = Member since
language = Language
language-of-browser = Same as browser
this-device = This device
change-name = Change name
change-name-lead = The name we show. Leave blank to remove it.
change-language = Change language
change-language-lead = Used on this site and in our emails.

# Security.

logging-in = Logging in
# $date (Element)
password-changed-on = Changed on { $date }
# $date (Element)
password-set-on = Set on { $date }
password-off = Turned off
reset = Reset
others-will-be-logged-out = Your other devices will be logged out.
sessions = Where you are logged in
# $browser (String)
# $system (String)
browser-on-system = { $browser } on { $system }
unknown-browser = Unknown browser
api-token = API token
# $ip (Element)
# $since (Element)
logged-in-since = { $ip }, logged in since { $since }
# $when (Element)
last-used = Last used { $when }
log-out-others = Log out all other devices
log-out-others-lead = Don't recognise a device? Log it out, then change your password.

newer = Newer
older = Older
# $list (String)
newer-of = Newer: { $list }
# $list (String)
older-of = Older: { $list }

recent-activity = Recent activity
# $browser (Element)
# $ip (Element)
# $when (Element)
event-from = { $browser }, { $ip }, { $when }
# $count (Number)
addresses = { $count ->
    [one] 1 address
   *[other] { $count } addresses
}
# $addresses (Element)
# $when (Element)
event-from-many = { $addresses }, { $when }
# $first (Element)
# $last (Element)
event-between = { $first } to { $last }
# $what (String)
# $times (Number)
event-times = { $what }, { $times } times
event-sign-up = Account created
event-log-in = Logged in
event-token = API token created
# $times (Number)
event-log-in-failed = { $times ->
    [one] Failed log-in
   *[other] { $times } failed log-ins
}
event-limit-hit = Too many failed log-ins: further attempts had to wait
event-log-out = Logged out
event-session-ended = Logged out another device
event-others-ended = Logged out all other devices
event-not-me = “This was not me”: devices logged out, old password turned off
event-password-changed = Password changed
event-reset-asked = Password reset email sent
event-reset-done = Password reset
event-cross-site-refused = Form from another site refused
event-reset-link-made = Password reset link created by an administrator
event-log-in-disabled = Log-in refused: the account was disabled
event-user-created = Account created by an administrator
event-user-disabled = Account disabled by an administrator
event-user-enabled = Account enabled by an administrator
event-email-set = Email address set by an administrator
event-logged-out = Logged out by an administrator
event-user-deleted = Account deleted by an administrator
event-keys-rotated = Secret of the site changed
event-signing-keys-rotated = Keys that sign for apps changed
event-keys-dropped = Old secrets of the site dropped
event-mail-retried = Email retried by an administrator
event-mail-dropped = Email dropped by an administrator
event-app-added = App registered by an administrator
event-app-changed = App changed by an administrator
event-app-secret-changed = Secret of an app changed by an administrator
event-app-removed = App removed by an administrator
event-restored = Backup restored
# $when (Element)
event-by-operator = by an administrator, { $when }
this-was-not-me = This was not me
# $when (Element)
# $who (Element)
# $ip (Element)
# $browser (Element)
not-me-lead = On { $when } someone logged in as { $who } from { $ip } ({ $browser }).
# $when (Element)
# $who (Element)
# $ip (Element)
# $browser (Element)
not-me-lead-log-out = On { $when } someone logged other devices out of the account of { $who } from { $ip } ({ $browser }).
# $more (Number)
not-me-more = { $more ->
    [one] There was one more log-in after it.
   *[other] There were { $more } more log-ins after it.
}
not-me-choice = If this was you, there is nothing to do. If not, log that device out. Every device that has logged in since then is logged out too, your old password stops working, and we email you a link to choose a new one.
not-me-button = Log it out and reset my password
not-me-done = Now choose a new password
# $ended (Number)
not-me-done-devices = { $ended ->
    [0] That device had been logged out already.
    [one] That device is logged out.
   *[other] { $ended } devices are logged out: that one, and every other that has logged in since.
}
not-me-done-password = Your old password no longer works.
# $email (Element)
not-me-done-email = We emailed a link to { $email }. Open it within 1 hour to choose a new password.
not-me-told = You have already told us
# $when (Element)
not-me-told-lead = On { $when } you told us that this was not you. That device and every other that had logged in since were logged out, and your old password stopped working.
# $email (Element)
not-me-told-email = We emailed a link to { $email } to choose a new password. It works for 1 hour. If you no longer have it, we can send another one.
not-me-reset-since = Your password has been reset since then
# $when (Element)
not-me-reset-since-lead = It was reset by email on { $when }, and every device was logged out. There is nothing more to do.
not-me-gone = It is more than 7 days old, was not copied in full, or comes from an older version of this site. To be safe, check where you are logged in, or choose a new password.

# The development mailbox.

development-mailbox = Development mailbox
# $setting (Element)
development-mailbox-lead = There is no mail server ({ $setting }), so emails are kept here, newest first.
first-page = Home page
no-letters = No emails yet. Create an account or reset a password, then reload this page.
# $to (Element)
# $when (Element)
letter-to = To { $to }, { $when }.
all-letters = All emails
links = Links
as-html = As HTML
as-text = As text
headers = Headers
width = Width
full-width = Full
phone-width = Phone
colours = Colours
light = Light
dark = Dark

# The description of the API.

# $address (Element)
base-address = Base address: { $address }
# $link (Element)
for-programs = For programs, the same as an OpenAPI document: { $link }
operations = Operations
needs-bearer-token = Needs a bearer token
needs-no-token = Needs no token
with-curl = With curl
parameters = Parameters
in-path = in the path
in-query = in the query
in-header = in a header
in-cookie = in a cookie
required = required
optional = optional
request-body = Request body
example = Example
responses = Responses
any-operation = What any operation may answer

# What just happened, shown once.

flash-welcome = Your account is ready and you are logged in.
flash-account-created = Your account is ready. Log in to continue.
flash-logged-out = You are logged out.
flash-password-reset = Your password was changed. Log in with it. All devices have been logged out.
flash-name-changed = Your name was changed.
flash-language-changed = Your language was changed.
flash-password-changed = Your password was changed. All other devices are logged out.
flash-device-logged-out = That device is logged out.
flash-others-logged-out = All other devices are logged out.
flash-sent-again = We sent it again.
flash-sent-just-now = We sent it less than a minute ago. Wait a moment, and check your spam folder.
flash-log-in-to-go-on = Log in to continue. You were logged out, so nothing has been saved yet.
flash-not-saved-yet = Nothing has been saved yet. Check the form, then save it.
flash-nothing-logged-out = No device has been logged out yet. Choose again.

# Failures: what happened, and what to do.

go-to-first-page = Go to home page
request-number = Request ID:
failure-cross-site = This request came from another site
failure-cross-site-advice = For your security, forms only work from our own pages. Open the page here and try again.
failure-not-found = Page not found
failure-not-found-advice = There is nothing at this address. If you typed it, check it. If you followed a link, it may be out of date.
failure-method = This page can't be opened directly
failure-method-advice = Start from the home page.
failure-timeout = That took too long
failure-timeout-advice = The form did not arrive in full. Go back and send it again.
failure-too-large = The form is too large
failure-too-large-advice = Go back, shorten it and send it again.
failure-misdirected = This site can't be found
failure-misdirected-advice = The address leads to our server, but no site here has that name. Check it, or use the link you were given.
failure-media-type = This is not a form
failure-media-type-advice = This address only takes forms. Open the page and fill in its form.
failure-too-many = Too many attempts
failure-busy = We're busy right now
failure-busy-advice = Wait a few seconds, then go back and try again.
failure-client = We couldn't read this request
failure-client-advice = Go back and try again, or start from the home page.
failure-server = Something went wrong on our side
failure-server-advice = Try again in a moment. If it keeps happening, send us the request ID below.

# Apps

# $app (String)
log-in-to-go-on = Log in to go on to { $app }.
# $app (String)
sign-up-to-go-on = Create an account to go on to { $app }.
# $app (String)
open-here-to-go-on = Open the link in this browser to go on to { $app }.
# $app (String)
then-go-on = Then you go on to { $app }.
# $app (String)
authorize-heading = Log in to { $app }
# $app (String)
authorize-lead = { $app } will see:
authorize-openid = that it is you, by an ID that stays the same
authorize-profile = your username, your full name and your language
authorize-email = your email address
authorize-offline = all of this also while you are away, until you log out here
# $host (String)
authorize-to = You go on to { $host }.
authorize-allow = Allow
authorize-deny = Cancel
authorize-stranger = This link leads to no app
authorize-unknown-app = The app that sent you here is not registered at this site. Go back to it and try again. If this happens again, tell the people who run it.
authorize-unknown-address = The app that sent you here asks to send you on to an address that is not registered, so you stay here. Tell the people who run it.
authorize-gone = The request of the app has expired. Go back to the app and start again.
authorize-too-long = The app that sent you here has sent more than this site can carry through a log-in. Log in here first, then go back to the app and try again.
apps = Apps
apps-with-access = Apps with access
apps-none = No app has access to your account.
apps-lead = You use your account to log in to these apps. If you take access away, the app can no longer see your account. It may ask you again the next time you open it.
# $at (Element)
apps-since = Since { $at }
apps-sees = It sees:
apps-end = Take access away
event-app-ended = Access of an app taken away
flash-access-ended = The app has no access any more.
flash-no-access-ended = No access has been taken away yet. Choose again.
logout-heading = Log out?
# $site (String)
logout-lead = This logs you out of { $site }, and of the apps that you opened with it.
# $app (String)
# $site (String)
logout-lead-of-app = { $app } asks to log you out of { $site }, and of the apps that you opened with it.
logout-stay = Stay logged in
logout-refused = You were not logged out
logout-unknown-app = This link does not work any more: it may be too old, or its app is not registered at this site.
logout-unknown-address = The app that sent you here asks to send you on to an address that is not registered, so you stay here. Tell the people who run it.
event-app-allowed = App allowed to see your account

# An app behind a proxy that asks who is there.

forward-unknown-address = This link asks to send you on to an address at which no app is registered, so you stay here. Go back to the app and try again. If this happens again, tell the people who run it.
# $app (String)
forward-in-circles = { $app } does not see that you are logged in
# $app (String)
forward-in-circles-lead = You are logged in here, and { $app } has sent you back several times. Either your browser does not keep this site’s cookies, or they do not reach the app.
# $host (String)
forward-in-circles-tell = If your browser allows cookies, tell the people who run the app: the proxy at { $host } must pass on the cookies of a request when it asks who is logged in.
forward-try-again = Try again
forward-logged-out = You have been logged out
# $app (String)
forward-nothing-lost = What you have sent has not reached { $app } yet, and it is not lost:
forward-step-log-in = Open another tab and log in there.
forward-step-reload = Come back to this tab and reload it. The browser asks whether to send the form again: say yes.
forward-log-in = Open the log-in in a new tab
