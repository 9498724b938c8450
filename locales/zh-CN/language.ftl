language-name = 简体中文
direction = ltr

date = { $year }年{ $month }月{ $day }日
moment = { $date } { $time }（UTC）
