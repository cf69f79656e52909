package main

import (
	"fmt"

	"firetower/config"
	"firetower/core/auth"
	"firetower/core/gateway"
)

// authOptions maps a configuration to what package auth takes.
func authOptions(c *config.Gateway) auth.Options {
	return auth.Options{
		SecretFile: c.Auth.SecretFile, KeysFile: c.Auth.KeysFile, ReloadInterval: c.Auth.ReloadInterval,
		Issuer: c.Auth.Issuer, Audience: c.Auth.Audience, Cookie: c.Auth.Cookie,
		Anonymous: c.Auth.Anonymous, Subscribe: c.Auth.Subscribe, Publish: c.Auth.Publish,
	}
}

// authenticate has a gateway ask its clients for tokens, where the configuration says so; the verifier is nil
// where it does not.
func authenticate(opts *gateway.Options, c *config.Gateway) (*auth.Verifier, error) {
	if !c.Auth.On() {
		return nil, nil //nolint:nilnil // there is nothing to verify
	}
	o := authOptions(c)
	o.Logger, o.Registry = opts.Logger, opts.Registry
	v, err := auth.New(o)
	if err != nil {
		return nil, configurationError(fmt.Errorf("gateway: %w", err))
	}
	opts.Authenticate, opts.Refresh = v.Authenticate, v.Refresh
	return v, nil
}
