# Letters. Both parts, HTML and text, are made of the same sentences; the text part is wrapped at 72 columns.

or-copy = Or copy this link into your browser:
# $when (Element)
# $ip (Element)
# $browser (Element)
asked-on = Asked on { $when } from { $ip } ({ $browser }).
never-ask = We never ask for your password by email.

# $site (String)
confirm-subject = Confirm your email address for { $site }
confirm-preheader = The link works for 24 hours. If this was not you, ignore this email.
# $site (String)
# $address (Element)
confirm-letter = Someone asked to create an account at { $site } with { $address }. To create it, open this link within 24 hours and select “Create my account”:
confirm-not-you = If this was not you, ignore this email, and no account will be created.

# $site (String)
registered-subject = You already have an account at { $site }
registered-heading = You already have an account
registered-preheader = Log in with the account you have. If this was not you, nothing has changed.
# $site (String)
# $address (Element)
registered-letter = Someone asked to create an account at { $site } with { $address }, which already has one. Log in to it here:
registered-forgotten = Forgot your password? Reset it here:
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
new-device-not-you = If this was not you, open this page to log that device out. We will then email you a link to choose a new password:

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
new-devices-not-you = If one of them was not you, open this page to log those devices out. We will then email you a link to choose a new password:
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
created-subject = Your { $site } account
created-heading = You have an account
created-preheader = Choose a password to log in.
# $site (String)
# $address (Element)
# $when (Element)
created-letter = An administrator of { $site } created an account for { $address } on { $when }. To choose a password, ask for a link here:
created-not-expected = If you did not expect this, ignore this email. Nobody can log in until a password is chosen with a link sent to you.

# $site (String)
email-added-subject = Your email address was added to a { $site } account
email-added-heading = Email address added
email-added-preheader = You can log in with this address now.
# $site (String)
# $address (Element)
# $when (Element)
email-added-letter = An administrator of { $site } set { $address } as the email address of an account on { $when }. Log in with this address. If you do not know the password, ask for a link to choose a new one here:
# $site (String)
email-added-not-yours = If this account is not yours, tell the administrators of { $site }.

# $site (String)
email-removed-subject = Your email address was removed from your { $site } account
email-removed-heading = Email address removed
email-removed-preheader = Your account has another email address now.
# $site (String)
# $address (Element)
# $when (Element)
email-removed-letter = An administrator of { $site } removed { $address } from your account on { $when } and set another email address. You cannot log in with this address any more, and emails about the account go to the other one.
# $site (String)
email-removed-not-you = If you did not ask for this, tell the administrators of { $site }.

# $site (String)
test-subject = Mail from { $site } works
test-heading = Mail works
# $site (String)
test-preheader = A test email from { $site }.
# $address (Element)
# $command (Element)
# $when (Element)
test-letter = This email was sent to { $address } by { $command } on { $when }.
