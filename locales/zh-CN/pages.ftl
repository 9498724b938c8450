# 每个页面

skip = 跳到主要内容
error-mark = 错误：
about = { $site }账号
development-mail = 开发环境邮件：
open-the-mailbox = 打开收件箱
insecure-lan = 未加密
insecure-lan-warning = 此连接未加密，同一网络中的其他人可以读取你的密码。仅供测试。

# 多个页面共用的词。链接、页面标题和大标题用同一条

sign-up = 创建账号
log-in = 登录
log-out = 退出登录
logged-in-as = 当前登录：{ $username }
reset-password = 重置密码
change-password = 修改密码
profile = 个人资料
security = 安全
email = 邮箱
username = 用户名
username-hint = 3–32 个汉字、字母、数字或符号（- _ .）
full-name = 称呼（选填）
password = 密码
current-password = 当前密码
new-password = 新密码
password-hint = 至少 { $least } 个字符，推荐用三个不相关的英文单词或拼音。
account = 账号
forgot-password = 忘记密码？
send-again = 重新发送
look-in-spam = 一分钟后还没收到？请查看垃圾邮件，或重新发送。
mail-waits = 我们的邮件服务器尚未接收这封邮件。
mail-waits-until = 我们的邮件服务器尚未接收这封邮件，下次尝试时间：{ $time }。
page-updates = 此页面每 30 秒自动刷新。
stop-updating = 停止自动刷新
update-page = 刷新此页面
wrong-address = 邮箱填错了？
start-again = 重新填写
there-is-a-problem = 请检查以下内容
change = 修改
cancel = 取消
save = 保存

show = 显示
hide = 隐藏
show-password = 显示密码
hide-password = 隐藏密码
show-current-password = 显示当前密码
hide-current-password = 隐藏当前密码
show-new-password = 显示新密码
hide-new-password = 隐藏新密码
password-is-visible = 密码已显示
password-is-hidden = 密码已隐藏

# 首页

welcome = 欢迎
home-lead = 在这里管理你的{ $site }账号。

# 创建账号

have-an-account = 已有账号？
check-your-mail = 查收邮件
signup-sent = 我们已向 { $email } 发送链接，请打开链接，完成账号创建。
signup-waits = 我们会向 { $email } 发送链接，收到后请打开链接，完成账号创建。
signup-sent-somewhere = 如果你刚申请创建账号，我们已向你的邮箱发送链接，请打开链接，完成账号创建。
confirm-email = 验证邮箱
confirm-lead = 确认后，将用 { $email } 创建账号（用户名：{ $username }）。
confirm-elsewhere = 为保护账号安全，请在这里设置密码。之前填写的密码不会生效。
confirm-lead-taken = 确认后，将用 { $email } 创建账号。
create-my-account = 创建我的账号
link-is-gone = 此链接已失效
signup-link-is-gone = 链接已使用过、已超过 24 小时，或不完整。如果你已确认过，请直接登录。
no-account-yet = 还没有账号？
signup-is-closed = 未开放注册
signup-is-closed-lead = 目前无法创建新账号。如果你已有账号，请直接登录。

# 登录

email-or-username = 邮箱或用户名
keep-me-logged-in = 在此设备上保持登录
new-here = 还没有账号？
not-sure-of-password = 记不清密码了？

# 找回账号

reset-lead = 输入你的邮箱，我们会向你发送重置密码的链接。
email-me-a-link = 发送重置链接
remembered-it = 想起来了？
reset-sent = 如果 { $email } 已注册账号，重置链接会发送到该邮箱，1 小时内有效。
reset-waits = 如果 { $email } 已注册账号，我们会向该邮箱发送重置链接，1 小时内有效。
reset-sent-somewhere = 如果你填写的邮箱已注册账号，重置链接会发送到该邮箱，1 小时内有效。
choose-new-password = 设置新密码
save-new-password = 保存新密码
reset-link-is-gone = 链接已使用过、已超过 1 小时、不完整，或我们已发送更新的链接。
email-me-a-new-link = 重新获取链接
know-your-password = 还记得密码？
another-account = 此链接属于另一个账号
another-account-lead = 当前登录的账号是 { $current }，而此链接用于设置账号 { $other } 的新密码。
another-account-choice = 如要使用此链接，请先退出登录；如不使用，可返回个人资料，密码不会改变。
log-out-and-go-on = 退出登录并继续
stay-logged-in = 不退出，返回个人资料

# 个人资料

your-account = 账号信息
full-name-row = 称呼
not-given = 未填写
member-since = 注册日期
language = 语言
language-of-browser = 跟随浏览器
this-device = 当前设备
change-name = 修改称呼
change-name-lead = 我们会显示此称呼。留空则删除。
change-language = 修改语言
change-language-lead = 用于本站页面和我们发送的邮件。

# 安全

logging-in = 登录方式
password-changed-on = { $date }修改
password-set-on = { $date }设置
password-off = 已停用
reset = 重置
others-will-be-logged-out = 修改密码后，其他设备将退出登录。
sessions = 已登录的设备
browser-on-system = { $system } 上的 { $browser }
unknown-browser = 未知浏览器
api-token = API 令牌
logged-in-since = { $ip }，登录时间：{ $since }
last-used = 最近使用：{ $when }
log-out-others = 退出所有其他设备
log-out-others-lead = 有不认识的设备？请先让它退出登录，再修改密码。

newer = 较新
older = 较早
newer-of = 较新：{ $list }
older-of = 较早：{ $list }

recent-activity = 最近活动
event-from = { $browser }，{ $ip }，{ $when }
addresses = { $count } 个 IP 地址
event-from-many = { $addresses }，{ $when }
event-between = { $first } 至 { $last }
event-times = { $what }（{ $times } 次）
event-sign-up = 创建账号
event-log-in = 登录
event-token = 创建 API 令牌
event-log-in-failed = { $times ->
    [1] 登录失败
   *[other] { $times } 次登录失败
}
event-limit-hit = 登录失败次数过多，已暂时限制尝试
event-log-out = 退出登录
event-session-ended = 让其他设备退出登录
event-others-ended = 退出所有其他设备
event-not-me = 标记为非本人操作：设备已退出登录，旧密码已失效
event-password-changed = 密码已修改
event-reset-asked = 已发送密码重置链接
event-reset-done = 密码已重置
event-cross-site-refused = 已拦截其他网站提交的表单
event-reset-link-made = 管理员生成重置密码链接
event-log-in-disabled = 拒绝登录：账号已停用
event-user-created = 管理员创建账号
event-user-disabled = 管理员停用账号
event-user-enabled = 管理员启用账号
event-email-set = 管理员设置邮箱
event-logged-out = 管理员让设备退出登录
event-user-deleted = 管理员删除账号
event-keys-rotated = 更换网站密钥
event-signing-keys-rotated = 更换应用令牌的签名密钥
event-keys-dropped = 停用网站的旧密钥
event-mail-retried = 管理员重发邮件
event-mail-dropped = 管理员取消邮件
event-app-added = 管理员登记应用
event-app-changed = 管理员修改应用
event-app-secret-changed = 管理员更换应用密钥
event-app-removed = 管理员移除应用
event-restored = 恢复备份
event-by-operator = 由管理员操作，{ $when }
this-was-not-me = 非本人操作
not-me-lead = { $when }，有人登录了账号 { $who }。IP 地址：{ $ip }，浏览器：{ $browser }。
not-me-lead-log-out = { $when }，有人让账号 { $who } 的其他设备退出了登录。IP 地址：{ $ip }，浏览器：{ $browser }。
not-me-more = 此后还有 { $more } 次登录。
not-me-choice = 如果是你本人操作，无需处理。如果不是，请让该设备退出登录。此后登录的设备也会一并退出，旧密码立即失效，我们会向你的邮箱发送设置新密码的链接。
not-me-button = 让该设备退出登录，并重置密码
not-me-done = 请设置新密码
not-me-done-devices = { $ended ->
    [0] 该设备此前已退出登录。
    [1] 该设备已退出登录。
   *[other] 已有 { $ended } 台设备退出登录：该设备，以及此后登录的所有设备。
}
not-me-done-password = 旧密码已失效。
not-me-done-email = 我们已向 { $email } 发送链接，请在 1 小时内打开并设置新密码。
not-me-told = 你已反馈过此问题
not-me-told-lead = 你在 { $when } 表示这不是你本人操作。该设备和此后登录的所有设备都已退出登录，旧密码也已失效。
not-me-told-email = 我们已向 { $email } 发送设置新密码的链接，1 小时内有效。如果找不到或已过期，可以重新发送。
not-me-reset-since = 此后密码已重置
not-me-reset-since-lead = 密码已在 { $when }通过邮件重置，所有设备都已退出登录，无需再做任何操作。
not-me-gone = 链接可能已超过 7 天、不完整，或来自本网站的旧版本。为安全起见，请查看已登录的设备，或设置新密码。

# 开发邮箱

development-mailbox = 开发环境收件箱
development-mailbox-lead = 未配置邮件服务器（{ $setting }），邮件都保存在这里，最新的排在最前。
first-page = 首页
no-letters = 还没有邮件。请先创建账号或申请重置密码，再刷新此页面。
letter-to = 收件人：{ $to }，时间：{ $when }。
all-letters = 全部邮件
links = 链接
as-html = HTML 版
as-text = 纯文本版
headers = 邮件头
width = 宽度
full-width = 全宽
phone-width = 手机
colours = 外观
light = 浅色
dark = 深色

# API 说明

base-address = 基础地址：{ $address }
for-programs = 供程序读取的 OpenAPI 文档：{ $link }
operations = 接口
needs-bearer-token = 需要 Bearer 令牌
needs-no-token = 无需令牌
with-curl = curl 示例
parameters = 参数
in-path = 路径
in-query = 查询字符串
in-header = 请求头
in-cookie = Cookie
required = 必填
optional = 选填
request-body = 请求体
example = 示例
responses = 响应
any-operation = 所有接口都可能返回的响应

# 一次性提示

flash-welcome = 账号已创建，你已登录。
flash-account-created = 账号已创建，请登录。
flash-logged-out = 你已退出登录。
flash-password-reset = 密码已重置，请用新密码登录。所有设备已退出登录。
flash-name-changed = 称呼已修改。
flash-language-changed = 语言已修改。
flash-password-changed = 密码已修改。其他设备已全部退出登录。
flash-device-logged-out = 该设备已退出登录。
flash-others-logged-out = 其他设备已全部退出登录。
flash-sent-again = 已重新发送。
flash-sent-just-now = 邮件发送还不到一分钟，请稍等，也可查看垃圾邮件。
flash-log-in-to-go-on = 请登录以继续。你已退出登录，内容尚未保存。
flash-not-saved-yet = 内容尚未保存，请核对后重新提交。
flash-nothing-logged-out = 尚未退出任何设备，请重新选择。

# 故障：发生了什么，该怎么办

go-to-first-page = 返回首页
request-number = 请求编号：
failure-cross-site = 此请求来自其他网站
failure-cross-site-advice = 为保护账号安全，我们只接受从本站页面提交的表单。请在本站打开页面，再提交一次。
failure-not-found = 页面不存在
failure-not-found-advice = 此网址没有内容。如果是手动输入的，请核对；如果是点击链接打开的，链接可能已失效。
failure-method = 此页面不能直接打开
failure-method-advice = 请从首页进入。
failure-timeout = 提交超时
failure-timeout-advice = 表单没有完整提交。请返回上一页，重新提交。
failure-too-large = 提交的内容过长
failure-too-large-advice = 请返回上一页，缩短后重新提交。
failure-misdirected = 找不到此网站
failure-misdirected-advice = 此网址指向我们的服务器，但这里没有该网站。请核对网址，或使用你收到的链接。
failure-media-type = 提交的不是表单
failure-media-type-advice = 此网址只接受表单。请打开页面，填写表单后再提交。
failure-too-many = 尝试次数过多
failure-busy = 系统繁忙
failure-busy-advice = 请稍等几秒，返回上一页再试。
failure-client = 无法读取此请求
failure-client-advice = 请返回上一页再试，或从首页重新进入。
failure-server = 服务器出错了
failure-server-advice = 请稍后再试。如果问题仍然出现，请把下面的请求编号告诉我们。

# 应用

log-in-to-go-on = 登录后继续前往{ $app }。
sign-up-to-go-on = 创建账号，即可前往{ $app }继续。
open-here-to-go-on = 请在此浏览器中打开链接，即可前往{ $app }继续。
then-go-on = 完成后将前往{ $app }继续。
authorize-heading = 登录{ $app }
authorize-lead = { $app }将看到：
authorize-openid = 你是谁（一个固定不变的编号）
authorize-profile = 你的用户名、姓名和语言
authorize-email = 你的邮箱地址
authorize-offline = 在你退出登录之前，即使你不在使用该应用，也能看到以上内容
authorize-to = 你将前往 { $host }。
authorize-allow = 允许
authorize-deny = 取消
authorize-stranger = 此链接不通向任何应用
authorize-unknown-app = 把你带到这里的应用没有在本网站登记。返回该应用再试一次；如果仍然如此，联系该应用的管理者。
authorize-unknown-address = 把你带到这里的应用要求前往一个未登记的地址，因此你仍留在本网站。联系该应用的管理者。
authorize-gone = 该应用的请求已过期。返回该应用重新开始。
authorize-too-long = 把你带到这里的应用发送的内容过长，登录时无法保留。先在此登录，然后返回该应用再试一次。
apps = 应用
apps-with-access = 有访问权限的应用
apps-none = 没有应用可以访问你的账号。
apps-lead = 你用自己的账号登录这些应用。撤销权限后，该应用无法再访问你的账号；下次打开时，可能需要重新征得你的同意。
apps-since = 自{ $at }起
apps-sees = 它能看到：
apps-end = 撤销权限
event-app-ended = 撤销了应用的访问权限
flash-access-ended = 该应用已没有访问权限。
flash-no-access-ended = 尚未撤销任何权限，请重新选择。
logout-heading = 退出登录？
logout-lead = 这会让你退出{ $site }以及你通过它打开的应用。
logout-lead-of-app = { $app }请求让你退出{ $site }以及你通过它打开的应用。
logout-stay = 保持登录
logout-refused = 你没有退出登录
logout-unknown-app = 此链接已失效：它可能太旧了，或者对应的应用没有在本网站登记。
logout-unknown-address = 把你带到这里的应用要求前往一个未登记的地址，因此你仍留在本网站。联系该应用的管理者。
event-app-allowed = 允许应用查看账号

# 由代理询问登录状态的应用

forward-unknown-address = 此链接要求前往的地址没有登记任何应用，因此你仍留在本网站。返回该应用再试一次；如果仍然如此，联系该应用的管理者。
forward-in-circles = { $app }没有收到你的登录状态
forward-in-circles-lead = 你已在此登录，但{ $app }多次把你送回这里。可能是浏览器没有保存本网站的 Cookie，也可能是 Cookie 没有传到该应用。
forward-in-circles-tell = 如果浏览器允许 Cookie，请告诉该应用的管理者：{ $host } 处的代理在询问登录状态时，必须把请求中的 Cookie 一并转发。
forward-try-again = 再试一次
forward-logged-out = 你已退出登录
forward-nothing-lost = { $app }还没有收到你提交的内容，但内容没有丢失：
forward-step-log-in = 在另一个标签页登录。
forward-step-reload = 回到此标签页并重新加载。浏览器会询问是否重新提交表单：选择“是”。
forward-log-in = 在另一个标签页登录
