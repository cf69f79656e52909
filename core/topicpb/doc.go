// Package topicpb is topicmanage.proto in Go: the manager's gRPC service and the
// bodies of the link packets hello, snapshot, welcome and refuse. It holds
// generated code only (`make proto`) and knows no other package of the project.
package topicpb
