# 程序接口

api-missing = 缺少此字段，或不是文本
api-unreadable = 请发送一个 JSON 对象
api-unauthenticated = 无法验证凭据
api-wrong-log-in = 用户名或密码不正确
api-unknown-app = 没有应用使用此 client_id 和 client_secret
api-two-secrets = 请只用一种方式发送一个 client_id 和一个 client_secret
api-client-ip = X-Latchkey-Client-IP 需要一个 IP 地址
api-grant-type = grant_type 只能是 password
api-not-found = 未找到
api-method = 不支持此方法
api-media-type = 请使用接口说明中的媒体类型
api-signup-sent = 我们已向你的邮箱发送链接，请打开链接，完成账号创建。
