# The door for programs.

api-missing = Needs this field, as text
api-unreadable = Send one JSON object
api-unauthenticated = Could not validate credentials
api-wrong-log-in = Incorrect username or password
api-unknown-app = No app has this client_id and client_secret
api-two-secrets = Send one client_id and one client_secret, either in Authorization or in the form
api-client-ip = X-Latchkey-Client-IP must be exactly one IP address
api-grant-type = The only grant_type here is password
api-not-found = Not found
api-method = Method not allowed
api-media-type = Send the media type that the description names
api-signup-sent = We emailed you a link. Open it to finish creating your account.
