# The language itself. A folder of locales/ is one language; CONTRIBUTING.md says how to add one.

# Its own name for itself, in the list of languages.
language-name = English
# ltr or rtl.
direction = ltr

# $year (String)
# $month (Number) - 1 to 12
# $day (String) - without a leading zero
date = { $day } { $month ->
    [1] January
    [2] February
    [3] March
    [4] April
    [5] May
    [6] June
    [7] July
    [8] August
    [9] September
    [10] October
    [11] November
   *[12] December
} { $year }
# $time (String) - as 08:15, in UTC
clock = { $time } UTC
# $date (String) - the message above
# $time (String) - as 08:15, in UTC
moment = { $date } at { $time } UTC
