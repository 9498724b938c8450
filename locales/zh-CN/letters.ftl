# 邮件。HTML 和文本两部分用同样的句子

or-copy = 或者把此地址复制到浏览器：
asked-on = 申请时间：{ $when }，来自 { $ip }。
never-ask = 我们不会通过邮件询问你的密码。

confirm-subject = 确认你的 { $site } 邮箱
confirm-preheader = 链接 24 小时内有效。如果不是你本人操作，忽略此邮件即可。
confirm-letter = 有人在 { $site } 用邮箱 { $address } 申请了账号。要创建账号，在 24 小时内打开此链接，并按“创建我的账号”：
confirm-not-you = 如果不是你本人操作，忽略此邮件即可：不按按钮就不会创建账号。

registered-subject = 你已有 { $site } 账号
registered-heading = 你已有账号
registered-preheader = 用已有的账号登录即可。如果不是你本人操作，一切保持不变。
registered-letter = 有人在 { $site } 用邮箱 { $address } 申请账号，而该邮箱已有账号。用已有的账号登录即可：
registered-forgotten = 如果不记得密码，可以在这里重置：
registered-not-you = 如果不是你本人操作，忽略此邮件即可：一切保持不变。

reset-subject = 重置你的 { $site } 密码
reset-preheader = 链接 1 小时内有效。如果不是你本人操作，忽略此邮件即可。
reset-letter = 有人申请重置 { $address } 的密码。要设置新密码，在 1 小时内打开此链接：
reset-not-you = 如果不是你本人操作，忽略此邮件即可，密码保持不变。

changed-subject = 你的 { $site } 密码已修改
changed-heading = 你的密码已修改
changed-preheader = 其他设备已退出登录。如果不是你本人操作，立即重置密码。
changed-letter = { $address } 的密码已修改，时间：{ $when }，浏览器：{ $browser }，来自 { $ip }。其他设备已退出登录。
changed-not-you = 如果不是你本人操作，立即重置密码：
changed-was-you = 如果是你本人操作，无需理会。

test-subject = { $site } 的邮件发送正常
test-heading = 邮件发送正常
test-preheader = 来自 { $site } 的测试邮件。
test-letter = 此邮件发往 { $address }，由 { $command } 发送，时间：{ $when }。
