// Package auth lets clients into a gateway by signed tokens (JSON Web Tokens, RFC 7519): who a
// client is, until when, and which topics it may subscribe and publish to.
//
// It owns the keys that tokens are signed with, which it reads again when their files change, and
// the meaning of a token's claims. A [Verifier] gives a gateway its Authenticate and Refresh; the gateway
// holds each client to what it was given, see [gateway.Access].
//
// # Claims
//
//	sub        the user: who is kicked by offline_user, and {user} in configured patterns
//	exp        until when the client may be connected, and Leeway more; without it for ever
//	nbf, iat   not before
//	iss, aud   as Options demand
//	firetower  {"subscribe": ["room.*"], "publish": ["room.7"]}: patterns of topics, in the place of
//	           the configured ones; an empty list allows nothing
package auth
