language-name = 简体中文
direction = ltr

date = { $year }年{ $month }月{ $day }日
clock = { $time }（UTC）
moment = { $date } { $time }（UTC）
