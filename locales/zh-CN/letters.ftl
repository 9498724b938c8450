# 邮件。HTML 和文本两部分用同样的句子

or-copy = 也可以复制以下链接，在浏览器中打开：
asked-on = 操作时间：{ $when }，IP 地址：{ $ip }，浏览器：{ $browser }。
never-ask = 我们绝不会通过邮件向你索要密码。

confirm-subject = 验证邮箱，完成{ $site }账号创建
confirm-preheader = 链接 24 小时内有效。如果不是你本人操作，请忽略此邮件。
confirm-letter = 有人用邮箱 { $address } 申请创建{ $site }账号。如果是你本人操作，请在 24 小时内打开以下链接，再点击“创建我的账号”：
confirm-not-you = 如果不是你本人操作，请忽略此邮件，不会创建账号。

registered-subject = 你已有{ $site }账号
registered-heading = 你已有账号
registered-preheader = 请用现有账号登录。如果不是你本人操作，请忽略此邮件。
registered-letter = 有人用邮箱 { $address } 申请创建{ $site }账号，但该邮箱已有账号。请直接登录：
registered-forgotten = 忘记密码？可以在这里重置：
registered-not-you = 如果不是你本人操作，请忽略此邮件，你的账号没有任何变化。

reset-subject = 重置你的{ $site }密码
reset-preheader = 链接 1 小时内有效。如果不是你本人操作，请忽略此邮件。
reset-letter = 有人申请重置账号 { $address } 的密码。如果是你本人操作，请在 1 小时内打开以下链接，设置新密码：
reset-not-you = 如果不是你本人操作，请忽略此邮件，密码不会改变。

not-me-subject = 请重置{ $site }密码：你报告了一次异常登录
not-me-preheader = 旧密码已失效。设置新密码的链接 1 小时内有效。
not-me-letter = 你表示账号 { $address } 有一次登录不是你本人操作。时间：{ $when }，IP 地址：{ $ip }，浏览器：{ $browser }。此后登录的设备都已退出登录，旧密码也已失效。请在 1 小时内打开以下链接，设置新密码：
not-me-expired = 如果链接已失效，可以在这里重新申请：
not-me-not-you = 如果这不是你本人操作，说明有人能看到你的邮件，请同时修改邮箱的密码。

changed-subject = 你的{ $site }密码已修改
changed-heading = 你的密码已修改
changed-preheader = 其他设备已退出登录。如果不是你本人操作，请立即重置密码。
changed-letter = 账号 { $address } 的密码已修改。时间：{ $when }，IP 地址：{ $ip }，浏览器：{ $browser }。其他设备已退出登录。
changed-not-you = 如果不是你本人操作，请立即重置密码：
changed-was-you = 如果是你本人操作，无需处理。

new-device-subject = { $site }账号有新设备登录
new-device-heading = 新设备登录
new-device-preheader = 如果是你本人操作，无需处理；如果不是，请让该设备退出登录。
new-device-letter = 有人登录了账号 { $address }。时间：{ $when }；IP 地址：{ $ip }；浏览器：{ $browser }。该设备此前从未登录过此账号。
new-device-not-you = 如果不是你本人操作，请打开以下链接，让该设备退出登录。我们随后会向你发送设置新密码的链接：

new-devices-subject = { $site }账号有 { $times } 次新设备登录
new-devices-heading = { $times } 次新设备登录
new-devices-preheader = 如果都是你本人操作，无需处理；如果不是，请让这些设备退出登录。
new-devices-letter = 有人在以下设备上登录了账号 { $address }，这些设备此前从未登录过此账号：
new-devices-more = 以及另外 { $more } 次登录
new-devices-not-you = 如果其中有一次不是你本人操作，请打开以下链接，让这些设备退出登录。我们随后会向你发送设置新密码的链接：
new-devices-were-you = 如果都是你本人操作，无需处理。

devices-ended-subject = 你的{ $site }账号有 { $devices } 台设备被退出登录
devices-ended-heading = 有 { $devices } 台设备被退出登录
devices-ended-preheader = 如果是你本人操作，无需处理；如果不是，请让操作的设备退出登录。
devices-ended-letter = 操作者当时登录的账号：{ $address }。时间：{ $when }；IP 地址：{ $ip }；浏览器：{ $browser }。该设备最近才开始登录此账号。

created-subject = 你的{ $site }账号
created-heading = 你的账号已创建
created-preheader = 设置密码后即可登录。
created-letter = 管理员已在{ $site }为 { $address } 创建账号。时间：{ $when }。请在这里获取设置密码的链接：
created-not-expected = 如果这与你无关，请忽略此邮件。只有通过发送给你的链接设置密码后，才能登录此账号。

email-added-subject = 你的邮箱已添加到{ $site }账号
email-added-heading = 邮箱已添加
email-added-preheader = 现在可以用此邮箱登录。
email-added-letter = 管理员已将 { $address } 设为一个{ $site }账号的邮箱。时间：{ $when }。请用此邮箱登录。如果不知道密码，可以在这里重置：
email-added-not-yours = 如果这不是你的账号，请告知{ $site }的管理员。

email-removed-subject = 你的邮箱已从{ $site }账号移除
email-removed-heading = 邮箱已移除
email-removed-preheader = 你的账号已改用其他邮箱。
email-removed-letter = 管理员已将 { $address } 从你的{ $site }账号移除，并设置了其他邮箱。时间：{ $when }。此邮箱不能再用于登录，与账号有关的邮件会发送到新邮箱。
email-removed-not-you = 如果你没有要求更换邮箱，请告知{ $site }的管理员。

test-subject = { $site }的邮件发送正常
test-heading = 邮件发送正常
test-preheader = 来自{ $site }的测试邮件。
test-letter = 此邮件发送至 { $address }，发送命令：{ $command }，时间：{ $when }。
