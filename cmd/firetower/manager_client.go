package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"firetower/config"
	"firetower/core/topicpb"
)

// managerClient is what the commands that ask a manager have in common: where it
// is, the token, and how long to wait. It is found as a gateway finds it, so
// that one configuration serves both.
type managerClient struct {
	settings *settings
	timeout  time.Duration
	asJSON   bool
}

// newManagerClient gives cmd the flags.
func newManagerClient(g *globalState, cmd *cobra.Command) *managerClient {
	c := &managerClient{settings: newSettings(g, cmd)}
	c.settings.fileFlag("config", config.ServiceGateway)
	c.settings.keyFlags(config.ServiceGateway, func(k config.Key) bool {
		return k.Flag == "manager-grpc" || k.Flag == "token-file"
	})
	cmd.Flags().DurationVar(&c.timeout, "timeout", 5*time.Second, "how long to wait for the manager")
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print JSON")
	return c
}

// call connects to the manager and makes one call.
func (c *managerClient) call(ctx context.Context, do func(context.Context, topicpb.TopicServiceClient) error) error {
	if c.timeout <= 0 {
		return usagef("--timeout %s: must be more than 0s", c.timeout)
	}
	conf, err := c.settings.gateway()
	if err != nil {
		return err
	}
	addr := conf.GRPCAddress.String()
	conn, err := grpc.NewClient(addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(bearerToken(conf.Link.Token)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswerBytes), grpc.MaxCallSendMsgSize(maxFileBytes)),
	)
	if err != nil {
		return fmt.Errorf("manager at %s: %w", addr, err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return explainCall(do(ctx, topicpb.NewTopicServiceClient(conn)), addr, c.timeout, conf.Link.Token != "")
}

// maxAnswerBytes bounds an answer; a list of topics can be long.
const maxAnswerBytes = 64 << 20

// explainCall says what to do about a call that failed; withToken tells that it
// carried a token.
func explainCall(err error, addr string, timeout time.Duration, withToken bool) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	err = &callError{addr: addr, status: s}
	switch s.Code() {
	case codes.Unavailable:
		return withHint(err, "Is a manager running there? Start one with 'firetower serve' or 'firetower manager', "+
			"or name another with --manager-grpc HOST:PORT.")
	case codes.Unauthenticated:
		if withToken {
			return withHint(err, "The token that was sent, of --token-file, link.tokenFile or FIRETOWER_LINK_TOKEN, is not the one of the manager's link.tokenFile.")
		}
		return withHint(err, "Give the manager's token with --token-file FILE or FIRETOWER_LINK_TOKEN.")
	case codes.DeadlineExceeded:
		return withHint(err, "No answer within %s. Is %s the gRPC address of a manager (not its link or its dashboard)? "+
			"Give it longer with --timeout.", timeout, addr)
	case codes.ResourceExhausted:
		return withHint(err, "The manager's limits.maxPacketBytes bounds a message.")
	case codes.InvalidArgument:
		return withExitCode(exitUsage, err)
	case codes.Unimplemented:
		return withHint(err, "The manager there is of another version: compare with 'firetower version'.")
	default:
		return err
	}
}

// callError is a call to the manager that failed.
type callError struct {
	addr   string
	status *status.Status
}

// Error names the manager and what it, or the way to it, said.
func (e *callError) Error() string {
	msg := e.status.Message()
	// gRPC wraps what the socket said; that is the part that tells something.
	if _, inner, ok := strings.Cut(msg, "while dialing: "); ok {
		msg = strings.TrimSuffix(inner, `"`)
	}
	if e.status.Code() == codes.DeadlineExceeded {
		msg = "no answer in time"
	}
	return fmt.Sprintf("manager at %s: %s", e.addr, msg)
}

// Unwrap gives the status, and a cancelled call as the context's own error.
func (e *callError) Unwrap() []error {
	errs := []error{e.status.Err()}
	if e.status.Code() == codes.Canceled {
		errs = append(errs, context.Canceled)
	}
	return errs
}

// bearerToken puts the token on each call.
type bearerToken string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t bearerToken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if t == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: the manager
// and those who talk to it share a trusted network.
func (bearerToken) RequireTransportSecurity() bool { return false }

// errMissed is a publish that did not reach every gateway that it should have.
var errMissed = errors.New("not every gateway with subscribers took the message")
