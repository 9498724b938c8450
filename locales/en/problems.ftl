# What is wrong with a form, in words that say what to do: no “please”, no “invalid”.

email-empty = Enter your email address
email-shape = Enter an email address like name@example.com
email-too-long = Enter a shorter email address: mail servers do not take one this long
email-taken = This email address has an account already. Log in, or use another address
username-empty = Choose a username
username-too-short = Username must be 3 characters or more
# $most (Number)
username-too-long = Username must be { $most } characters or fewer
username-characters = Username can have letters, digits, - _ and . only, with a letter or digit first and last
username-reserved = Choose another username: this one is kept for the site
username-looks-reserved = Choose another username: this one looks like a name that is kept for the site
username-mixes-scripts = Username cannot mix scripts, such as Latin and Cyrillic letters
username-taken = Choose another username: this one is taken
# $most (Number)
full-name-too-long = Full name must be { $most } characters or fewer
full-name-characters = Type your full name again, on one line: it holds a character that cannot be shown
wrong-log-in = Email, username or password is not right
account-disabled = This account is disabled. Contact the people who run this site
current-password-empty = Enter your current password
current-password-wrong = This is not your current password. Type it again
password-empty = Choose a password
# $least (Number)
password-too-short = Password must be { $least } characters or more
# $most (Number)
password-too-long = Password must be { $most } characters or fewer
password-unreadable = This password did not arrive as you typed it. Type it again
# $reason (String) - one of those below
password-guessable = Choose a password that is harder to guess: { $reason }. Three random words work well
guessable-keys = rows of keys are among the first guesses
guessable-repeats = repeats are easy to guess
guessable-sequences = sequences like abc or 6543 are easy to guess
guessable-dates = years and dates are easy to guess
guessable-common = this one, or one much like it, is on every list of common passwords
guessable-names = names are easy to guess
guessable-own = your own names and this site's are among the first guesses
guessable-word = a single word is easy to guess
guessable-early = this one would be guessed early
# $minutes (Number)
too-many-client = Wait { $minutes ->
    [1] a minute
   *[other] { $minutes } minutes
}, then try again. So many tries came from your network that we slow them down.
# $minutes (Number)
too-many-account = Wait { $minutes ->
    [1] a minute
   *[other] { $minutes } minutes
}, then try again. Too many passwords were tried. If you are not sure of yours, reset it: that works at once.
too-many-closed = So many wrong passwords were tried that only a reset helps, or a browser in which you have logged in before.
language-unknown = Choose one of the languages
