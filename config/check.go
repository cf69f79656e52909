package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The checks of single values: what has the right shape and cannot work. None
// of them names the key, which stands before its message.

// checkSecret accepts what can stand in an authorization header (RFC 6750,
// section 2.1, allows less; other clients are not bound to it).
func checkSecret(v any) error {
	s, ok := v.(string)
	if !ok {
		return errors.New("is not text")
	}
	if len(s) > maxSecretBytes {
		return fmt.Errorf("is longer than %d bytes", maxSecretBytes)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("may hold printable ASCII without spaces only")
	}
	return nil
}

// checkPath accepts the path of a URL.
func checkPath(v any) error {
	s, ok := v.(string)
	if !ok || !strings.HasPrefix(s, "/") || strings.ContainsAny(s, "?#{} ") {
		return fmt.Errorf(`must be the path of a URL that begins with "/", got %q`, v)
	}
	return nil
}

// checkOrigins accepts serialized origins (RFC 6454, section 6.2) and "*".
func checkOrigins(v any) error {
	list, ok := v.([]string)
	if !ok {
		return errors.New("is not a list")
	}
	for _, s := range list {
		if s == "*" {
			continue
		}
		u, err := url.Parse(s)
		if err != nil || u.Scheme == "" || u.Host == "" || s != u.Scheme+"://"+u.Host {
			return fmt.Errorf(`%q is not an origin: want scheme://host[:port] such as "https://example.org", or "*"`, s)
		}
	}
	return nil
}

// checkTopicBeginnings accepts what topics can begin with.
func checkTopicBeginnings(v any) error {
	list, ok := v.([]string)
	if !ok {
		return errors.New("is not a list")
	}
	for _, s := range list {
		if s == "" {
			return errors.New("an empty beginning is every topic's: leave the list empty for all")
		}
		if err := checkTopicText(s); err != nil {
			return err
		}
	}
	return nil
}

// checkTopicText accepts what a topic may hold (protocol.ValidTopic, which knows the longest topic as well).
func checkTopicText(s string) error {
	bad := func(r rune) bool { return r == ',' || unicode.IsControl(r) || unicode.IsSpace(r) }
	if len(s) > 255 || !utf8.ValidString(s) || strings.ContainsFunc(s, bad) {
		return fmt.Errorf("must be at most 255 bytes without commas, spaces and control characters, got %q", s)
	}
	return nil
}

// checkName accepts what may stand in a field of a FireHeader packet.
func checkName(v any) error {
	s, ok := v.(string)
	if !ok || len(s) > 255 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\uFFFD' }) {
		return fmt.Errorf("must be at most 255 bytes without spaces and control characters, got %q", v)
	}
	return nil
}

// checkHeader accepts the name of a header field (RFC 9110, section 5.6.2).
func checkHeader(v any) error {
	s, ok := v.(string)
	if !ok || strings.Trim(s, fieldNameChars) != "" {
		return fmt.Errorf("must be the name of an HTTP header, got %q", v)
	}
	return nil
}

// fieldNameChars are those of a token (RFC 9110, section 5.6.2).
const fieldNameChars = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
