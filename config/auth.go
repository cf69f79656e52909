package config

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Auth lets clients in by signed tokens.
type Auth struct {
	// SecretFile and KeysFile hold what tokens are signed with; with neither nobody is asked.
	SecretFile, KeysFile string
	// ReloadInterval is how often the files are looked at for a change.
	ReloadInterval time.Duration
	// Issuer and Audience are what tokens must say; empty is anything.
	Issuer, Audience string
	// Cookie may hold the token.
	Cookie string
	// Anonymous lets in clients without a token.
	Anonymous bool
	// Subscribe and Publish are the patterns of topics for whom no token says otherwise.
	Subscribe, Publish []string
}

// On tells whether clients are asked for tokens.
func (a *Auth) On() bool { return a.SecretFile != "" || a.KeysFile != "" }

// authKeys are the keys of who may do what.
func authKeys(a *Auth) []*key {
	return []*key{
		{
			path: "auth.secretFile", kind: KindFile, def: "", to: &a.SecretFile,
			doc: "The file with the secret, a text of at least 32 bytes, that clients' tokens are signed with (JSON Web Tokens, RFC 7519, with HS256; " +
				"HS384 and HS512 need 48 and 64 bytes). Without it and auth.keysFile nobody is asked for a token, and every client may subscribe to every topic.",
		},
		{
			path: "auth.keysFile", kind: KindFile, def: "", to: &a.KeysFile,
			doc: "The file with the public keys of tokens with RS256, PS256, ES256, their longer kin, or EdDSA: a JSON Web Key Set (RFC 7517), or PEM.",
		},
		{
			path: "auth.reloadInterval", kind: KindDuration, def: "5s", to: &a.ReloadInterval, lo: 0, hi: 24 * hr,
			doc: "How often both files are looked at, when somebody connects; broken ones leave the keys before in force. SIGHUP reads them at " +
				"once; 0s leaves it to that.",
		},
		{
			path: "auth.issuer", kind: KindText, def: "", to: &a.Issuer,
			doc: "What a token's claim iss must be. Empty takes any.",
		},
		{
			path: "auth.audience", kind: KindText, def: "", to: &a.Audience,
			doc: "What a token's claim aud must be, or name among others. Empty takes any.",
		},
		{
			path: "auth.cookie", kind: KindText, def: "", to: &a.Cookie, check: checkHeader,
			doc: `The cookie that may hold the token, beside the header "Authorization: Bearer" and the URL's parameter "token". Empty is none.`,
		},
		{
			path: "auth.anonymous", kind: KindBool, def: "false", to: &a.Anonymous,
			doc: "Whether clients without a token are let in. They may do what auth.subscribe and auth.publish say.",
		},
		{
			path: "auth.subscribe", kind: KindList, def: "", to: &a.Subscribe, check: checkTopicPatterns,
			doc: `The topics that a client may subscribe to whose token names none: "news" is one, "room.*" are all that begin with "room.", "*" are all; ` +
				`{user} stands for the token's claim sub, as in "user.{user}.*"; who has in his name what parts it from the rest gets none of these. A token names its own in the claim firetower: {"subscribe": [...], "publish": [...]}.`,
		},
		{
			path: "auth.publish", kind: KindList, def: "", to: &a.Publish, check: checkTopicPatterns,
			doc: "The topics that such a client may publish to, likewise.",
		},
	}
}

// checkTopicPatterns accepts patterns of topics. Whether names have an end in them, package auth knows.
func checkTopicPatterns(v any) error {
	list, ok := v.([]string)
	if !ok {
		return errors.New("is not a list")
	}
	for _, s := range list {
		if s == "" {
			return errors.New(`an empty pattern is no topic's: want one such as "news" or "room.*", or "*" for all`)
		}
		if err := checkTopicText(strings.TrimSuffix(s, "*")); err != nil {
			return err
		}
	}
	return nil
}

// crossCheckAuth refuses what has no effect without keys, and a second way to say who a client is.
func (c *Gateway) crossCheckAuth(l *loader) {
	if c.Auth.On() {
		if c.Auth.Cookie != "" && slices.Contains(c.Gateway.Origins, "*") {
			l.problemWith("auth.cookie", `would be sent by pages of every origin that gateway.origins = ["*"] lets in: list the origins`)
		}
		if c.Gateway.UserHeader != "" {
			l.problemWith("gateway.userHeader", "has no effect beside auth.secretFile or auth.keysFile: a user is who the token says")
		}
		return
	}
	for _, k := range authKeys(new(Auth)) {
		if set := l.find(k.path); k.kind != KindFile && set.origin.Kind != FromDefault && set.text() != k.def {
			l.problemWith(k.path, "needs auth.secretFile or auth.keysFile: without either nobody is asked for a token")
		}
	}
}
