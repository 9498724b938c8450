# Letters. Both parts, HTML and text, are made of the same sentences; the text part is wrapped at 72 columns.

or-copy = Or copy this address into your browser:
# $when (Element)
# $ip (Element)
asked-on = Asked on { $when } from { $ip }.
never-ask = We never ask for your password by email.

# $site (String)
confirm-subject = Confirm your email address for { $site }
confirm-preheader = The link works for 24 hours. If this was not you, ignore this email.
# $site (String)
# $address (Element)
confirm-letter = Someone asked for an account at { $site } with the address { $address }. To create it, open this link within 24 hours and press “Create my account”:
confirm-not-you = If this was not you, ignore this email: without the button no account is made.

# $site (String)
registered-subject = You already have an account at { $site }
registered-heading = You already have an account
registered-preheader = Log in with the account you have. If this was not you, nothing has changed.
# $site (String)
# $address (Element)
registered-letter = Someone asked for an account at { $site } with the address { $address }, which already has one. Log in with the account you have:
registered-forgotten = If you no longer know the password, ask for a new one here:
registered-not-you = If this was not you, ignore this email: nothing has changed.

# $site (String)
reset-subject = Reset your { $site } password
reset-preheader = The link works for 1 hour. If you did not ask for it, ignore this email.
# $address (Element)
reset-letter = Someone asked to reset the password for { $address }. To choose a new one, open this link within 1 hour:
reset-not-you = If you did not ask for this, ignore this email. Your password stays the same.

# $site (String)
not-me-subject = Reset your { $site } password: you told us a log-in was not you
not-me-preheader = Your old password no longer works. The link to choose a new one works for 1 hour.
# $address (Element)
# $when (Element)
# $ip (Element)
# $browser (Element)
not-me-letter = You told us that a log-in to { $address } was not you. You did so on { $when } from { $ip } ({ $browser }). The devices that have logged in since then are logged out, and your old password no longer works. To choose a new password, open this link within 1 hour:
not-me-expired = If the link no longer works, ask for another one here:
not-me-not-you = If you did not tell us this, someone else can read your email: change the password of your email account as well.

# $site (String)
changed-subject = Your { $site } password was changed
changed-heading = Your password was changed
changed-preheader = Other devices have been logged out. If this was not you, reset your password now.
# $address (Element)
# $when (Element)
# $ip (Element)
# $browser (Element)
changed-letter = The password for { $address } was changed on { $when } from { $ip } ({ $browser }). Other devices have been logged out.
changed-not-you = If this was not you, reset your password now:
changed-was-you = If this was you, there is nothing to do.

# $site (String)
new-device-subject = New log-in to your { $site } account
new-device-heading = New log-in
new-device-preheader = If this was you, there is nothing to do. If not, log that device out.
# $address (Element)
# $when (Element)
# $ip (Element)
# $browser (Element)
new-device-letter = Someone logged in as { $address } on { $when } from { $ip } ({ $browser }), on a device that has not been used for this account before.
new-device-not-you = If this was not you, open this page to log that device out. We then email you a link to choose a new password:

# $site (String)
# $times (Number)
new-devices-subject = { $times } new log-ins to your { $site } account
# $times (Number)
new-devices-heading = { $times } new log-ins
new-devices-preheader = If all of them were you, there is nothing to do. If not, log those devices out.
# $address (Element)
new-devices-letter = Someone logged in as { $address } on devices that have not been used for this account before:
# $more (Number)
new-devices-more = and { $more } more
new-devices-not-you = If one of them was not you, open this page to log those devices out. We then email you a link to choose a new password:
new-devices-were-you = If all of them were you, there is nothing to do.

# $devices (Number)
# $site (String)
devices-ended-subject = { $devices ->
    [one] A device was logged out of your { $site } account
   *[other] { $devices } devices were logged out of your { $site } account
}
# $devices (Number)
devices-ended-heading = { $devices ->
    [one] A device was logged out
   *[other] { $devices } devices were logged out
}
devices-ended-preheader = If this was you, there is nothing to do. If not, log out the device that did it.
# $address (Element)
# $when (Element)
# $ip (Element)
# $browser (Element)
devices-ended-letter = This was done by someone who was logged in as { $address }, on { $when } from { $ip } ({ $browser }), on a device that is new to this account.

# $site (String)
test-subject = Mail from { $site } works
test-heading = Mail works
# $site (String)
test-preheader = A test letter from { $site }.
# $address (Element)
# $command (Element)
# $when (Element)
test-letter = This letter was sent to { $address } by { $command } on { $when }.
