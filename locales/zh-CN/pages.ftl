# 每个页面

skip = 跳到主要内容
error-mark = 错误：
about = { $site } 账号
languages = 语言
development-bar = 开发邮件：{ -open-the-mailbox }
-open-the-mailbox = 打开邮箱

# 多个页面共用的词。链接、页面标题和大标题用同一条

sign-up = 创建账号
log-in = 登录
log-out = 退出登录
reset-password = 重置密码
change-password = 修改密码
profile = 个人资料
security = 安全
email = 邮箱
username = 用户名
username-hint = 字母、数字和 - _ .
full-name = 姓名（选填）
password = 密码
current-password = 当前密码
new-password = 新密码
password-hint = 至少 { $least } 个字符，推荐用三个随机词语组成。
account = 账号
forgot-password = 忘记密码？
send-again = 重新发送
look-in-spam = 一分钟后还没收到？请查看垃圾邮件，或重新发送。
wrong-address = 邮箱填错了？
start-again = 重新开始
there-is-a-problem = 提交的内容有问题
change = 修改
cancel = 取消
save = 保存

show = 显示
hide = 隐藏
show-field = 显示{ $field }
hide-field = 隐藏{ $field }
field-password = 密码
field-current-password = 当前密码
field-new-password = 新密码
password-is-visible = 密码已显示
password-is-hidden = 密码已隐藏

# 首页

welcome = 欢迎
home-lead = 你的 { $site } 账号。

# 创建账号

have-an-account = 已有账号？
check-your-mail = 查收邮件
signup-sent = 我们已向 { $email } 发送邮件，按邮件里的按钮即可完成。
signup-sent-somewhere = 如果你刚刚申请了账号，邮件已在路上，按邮件里的按钮即可完成。
confirm-email = 确认邮箱
confirm-lead = 按下按钮，{ $email } 就有了账号，用户名为 { $username }。
confirm-lead-taken = 按下按钮，{ $email } 就有了账号。你的用户名刚刚被人使用，另选一个即可。
create-my-account = 创建我的账号
link-is-gone = 此链接已失效
signup-link-is-gone = 链接可能已经用过、已超过 24 小时，或在传送中不完整。如果你之前按过按钮，账号已经创建，直接登录即可。
no-account-yet = 还没有账号？
signup-is-closed = 暂停注册
signup-is-closed-lead = 目前无法在这里创建新账号。如果你已有账号，直接登录即可。

# 登录

email-or-username = 邮箱或用户名
keep-me-logged-in = 在此设备上保持登录
new-here = 第一次来？
not-sure-of-password = 记不清密码了？

# 找回账号

reset-lead = 我们会向你的邮箱发送链接，打开后即可设置新密码。
email-me-a-link = 发送链接
remembered-it = 想起来了？
reset-sent = 如果 { $email } 有账号，链接已在路上，1 小时内有效。
reset-sent-somewhere = 如果该邮箱有账号，链接已在路上，1 小时内有效。
choose-new-password = 设置新密码
save-new-password = 保存新密码
reset-link-is-gone = 链接可能已经用过、已超过 1 小时，或在传送中不完整；也可能已被更新的链接取代。
email-me-a-new-link = 发送新链接
know-your-password = 还记得密码？
another-account = 此链接属于另一个账号
another-account-lead = 你已登录为 { $current }，而此链接用于为 { $other } 设置新密码。
another-account-choice = 要使用此链接，先退出登录；否则密码保持不变，可返回个人资料。
log-out-and-go-on = 退出登录并继续
stay-logged-in = 保持登录

# 个人资料

your-account = 你的账号
full-name-row = 姓名
not-given = 未填写
member-since = 注册日期
language = 语言
language-of-browser = 跟随浏览器
this-device = 当前设备
change-name = 修改姓名
change-name-lead = 你希望被怎样称呼。留空即可删除。
change-language = 修改语言
change-language-lead = 用于页面和我们发给你的邮件。

# 安全

logging-in = 登录方式
password-changed-on = { $date }修改
password-set = 已设置
others-will-be-logged-out = 你的其他设备将退出登录。
places = 已登录的设备
browser-on-system = { $system } 上的 { $browser }
unknown-browser = 未知浏览器
last-used = { $ip }，最近使用：{ $when }
log-out-place = 让 { $browser } 退出登录
log-out-others = 退出所有其他设备
log-out-others-lead = 有不认识的设备？先让它退出登录，再修改密码。

# 开发邮箱

development-mailbox = 开发邮箱
development-mailbox-lead = 没有配置邮件服务器（{ $setting }），邮件保存在这里，最新的在前。
first-page = 首页
no-letters = 还没有邮件。创建账号或重置密码后，刷新此页面。
letter-to = 收件人 { $to }，{ $when }。
all-letters = 全部邮件
links = 链接
as-html = HTML 版
as-text = 文本版
headers = 邮件头
width = 宽度
full-width = 全宽
phone-width = 手机
colours = 颜色
light = 浅色
dark = 深色

# 一次性提示

flash-welcome = 账号已创建，你已登录。
flash-account-created = 账号已创建，现在可以登录。
flash-logged-out = 你已退出登录。
flash-password-reset = 密码已修改，请用新密码登录。所有其他设备已退出登录。
flash-name-changed = 姓名已修改。
flash-language-changed = 语言已修改。
flash-password-changed = 密码已修改。所有其他设备已退出登录。
flash-place-logged-out = 该设备已退出登录。
flash-others-logged-out = 所有其他设备已退出登录。
flash-sent-again = 已重新发送。
flash-sent-just-now = 不到一分钟前刚发送过。稍等片刻，并查看垃圾邮件。
flash-log-in-to-go-on = 登录已过期，内容尚未保存。登录后可从刚才的地方继续。
flash-not-saved-yet = 内容尚未保存。核对后再次提交即可。

# 故障：发生了什么，该怎么办

go-to-first-page = 前往首页
request-number = 请求编号：
failure-cross-site = 此请求来自其他网站
failure-cross-site-advice = 为了账号安全，只接受从本站页面提交的表单。在这里打开页面后重新提交即可。
failure-not-found = 页面不存在
failure-not-found-advice = 此地址没有内容。如果是手动输入的，核对一下；如果来自链接，它可能已经过时。
failure-method = 此地址不能这样打开
failure-method-advice = 从首页重新开始即可。
failure-timeout = 等待时间过长
failure-timeout-advice = 表单没有完整送达。返回后重新提交即可。
failure-too-large = 内容过长
failure-too-large-advice = 表单超出了大小限制。返回后缩短内容，再重新提交即可。
failure-media-type = 这不是表单
failure-media-type-advice = 此地址只接受表单。打开页面并填写其中的表单即可。
failure-busy = 目前繁忙
failure-busy-advice = 稍等几秒，返回后再试一次。
failure-client = 无法读取此请求
failure-client-advice = 返回后再试一次，或从首页重新开始。
failure-server = 我们这边出了问题
failure-server-advice = 稍后再试一次。如果仍然出现，把下面的编号告诉我们。
