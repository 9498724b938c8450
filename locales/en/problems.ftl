# What is wrong with a form, in words that say what to do: no “please”, no “invalid”.

email-empty = Enter your email address
email-shape = Enter an email address like name@example.com
email-too-long = Enter a shorter email address. Mail servers do not accept one this long
email-taken = This email address already has an account. Log in, or use another one
username-empty = Choose a username
username-too-short = Username must be 3 characters or more
# $most (Number)
username-too-long = Username must be { $most } characters or fewer
username-characters = Username can only have letters, numbers, hyphens, underscores and dots, and must start and end with a letter or number
username-reserved = This username is reserved. Choose another
username-looks-reserved = This username is too similar to a reserved one. Choose another
username-mixes-scripts = Username cannot mix alphabets, such as Latin and Cyrillic letters
username-taken = This username is taken. Choose another
username-just-taken = That username has just been taken. Choose another.
# $most (Number)
full-name-too-long = Full name must be { $most } characters or fewer
full-name-characters = Enter your full name again, on one line. It has a character that cannot be shown
wrong-log-in = Incorrect email, username or password
login-empty = Enter your email or username
password-needed = Enter your password
account-disabled = This account is disabled. Contact an administrator of this site
current-password-empty = Enter your current password
current-password-wrong = Incorrect current password
password-empty = Choose a password
# $least (Number)
password-too-short = Password must be { $least } characters or more
# $most (Number)
password-too-long = Password must be { $most } characters or fewer
password-unreadable = Your password did not arrive as you typed it. Enter it again
password-same = This is the password you already have. Choose another
# $reason (String) - one of those below
password-guessable = Choose a password that is harder to guess: { $reason }. Three random words work well
guessable-keys = keys in a row are easy to guess
guessable-repeats = repeats are easy to guess
guessable-sequences = sequences like abc or 6543 are easy to guess
guessable-dates = years and dates are easy to guess
guessable-common = this one is on every list of common passwords, or very like one that is
guessable-names = names are easy to guess
guessable-own = your own names and this site's name are easy to guess
guessable-word = a single word is easy to guess
guessable-early = this one is easy to guess
# $minutes (Number)
too-many-client = Too many attempts from your network. Try again in { $minutes ->
    [1] 1 minute
   *[other] { $minutes } minutes
}.
# $minutes (Number)
too-many-account = Too many attempts. Try again in { $minutes ->
    [1] 1 minute
   *[other] { $minutes } minutes
}, or reset your password now.
too-many-closed = Too many wrong passwords. Reset your password, or log in from a browser you have used before.
language-unknown = Choose one of the languages
