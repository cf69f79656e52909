package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"firetower/config"
	"firetower/core/auth"
	"firetower/core/gateway"
)

// tokenFlags are those of token.
type tokenFlags struct {
	user, secretFile, keyFile, keyID string
	subscribe, publish               []string
	nothing                          bool
	expires                          time.Duration
}

func newTokenCommand(g *globalState) *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:   "token [--user USER]",
		Short: "Sign a client's token, to try a gateway that asks for them",
		Long: `Token prints a signed JSON Web Token that a gateway with the same secret, or with
the public half of the key, lets in. Backends make their own, with any JWT
library: the claims are sub (the user), exp, iss and aud as the gateway asks for
them, and firetower: {"subscribe": ["room.*"], "publish": ["room.7"]}.

Without --subscribe and --publish the token leaves it to the gateway's
auth.subscribe and auth.publish. --config reads the gateway's auth.secretFile,
auth.issuer and auth.audience.`,
		Example: `  firetower token --user ann --secret-file secret --subscribe 'room.*' --expires 1h
  TOKEN=$(firetower token --user ann --config fireTower.toml)
  firetower subscribe room.1 --header "Authorization: Bearer $TOKEN"`,
		Args: noArgs,
	}
	s := newSettings(g, cmd)
	s.fileFlag("config", config.ServiceGateway)
	flags := cmd.Flags()
	flags.StringVar(&f.user, "user", "", "the `USER`, claim sub; empty is nobody")
	flags.StringVar(&f.secretFile, "secret-file", "", "sign with the secret in `FILE`, HS256 (default auth.secretFile)")
	flags.StringVar(&f.keyFile, "key-file", "", "sign with the private key in `FILE`, PEM: RS256, ES256, ES384, ES512 or EdDSA as the key is")
	flags.StringVar(&f.keyID, "key-id", "", "the `NAME` that a JSON Web Key Set has for the key")
	flags.StringArrayVar(&f.subscribe, "subscribe", nil, "a `PATTERN` of topics to subscribe to, such as 'room.*'; may be repeated")
	flags.StringArrayVar(&f.publish, "publish", nil, "a `PATTERN` of topics to publish to; may be repeated")
	flags.BoolVar(&f.nothing, "nothing-else", false, "allow nothing but --subscribe and --publish, where one is missing too")
	flags.DurationVar(&f.expires, "expires", time.Hour, "how long the token is good; 0 is for ever")
	cmd.RunE = func(*cobra.Command, []string) error {
		c, err := s.gateway()
		if err != nil {
			return err
		}
		return printToken(g, f, c)
	}
	return cmd
}

func printToken(g *globalState, f tokenFlags, c *config.Gateway) error {
	for flag, patterns := range map[string][]string{"--subscribe": f.subscribe, "--publish": f.publish} {
		for _, text := range patterns {
			if _, err := gateway.ParseTopicPattern(text); err != nil {
				return usagef("%s: %w", flag, err)
			}
		}
	}
	if f.expires < 0 {
		return usagef("--expires %s: must be at least 0s", f.expires)
	}
	if f.secretFile != "" && f.keyFile != "" {
		return usagef("--secret-file and --key-file: only one can sign")
	}
	if f.secretFile == "" && f.keyFile == "" {
		f.secretFile = c.Auth.SecretFile
	}
	var key auth.SigningKey
	var err error
	switch {
	case f.keyFile != "":
		key, err = auth.ReadSigningKey(f.keyFile)
	case f.secretFile != "":
		key, err = auth.ReadSigningSecret(f.secretFile)
	default:
		return usagef("want --secret-file, --key-file, or --config of a gateway with auth.secretFile")
	}
	if err != nil {
		return err
	}
	t := auth.Token{
		User: f.user, Issuer: c.Auth.Issuer, Audience: c.Auth.Audience, IssuedAt: g.now(),
		Permissions: auth.Permissions{Subscribe: f.subscribe, Publish: f.publish},
	}
	if f.expires > 0 {
		t.Expires = g.now().Add(f.expires)
	}
	if f.nothing {
		// An empty list is one; a nil list leaves it to the gateway.
		t.Permissions.Subscribe = append([]string{}, f.subscribe...)
		t.Permissions.Publish = append([]string{}, f.publish...)
	}
	text, err := t.Sign(key, f.keyID)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(g.stdout, text)
	return err
}
