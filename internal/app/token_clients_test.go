//go:build unix

package app_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tokenScript has people, roles and profiles at a local AWS, and verifies the tokens that
// they get, ours and those of the AWS CLI and boto3.
const tokenScript = `set -e
cat >seed.yaml <<'E'
accounts:
  - id: "111122223333"
    users:
      - name: alice
        path: /staff/
        accessKeys: [{id: AKIAIOSFODNN7EXAMPLE, secret: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY}]
        inline: {assume: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "sts:AssumeRole", Resource: "*"}]}}
      - name: bob
        accessKeys: [{id: AKIAI44QH8DHBEXAMPLE, secret: je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY}]
    roles:
      - name: dev.eks-access.role
        trust: {Statement: [{Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:user/staff/alice"}, Action: "sts:AssumeRole"}]}
        inline: {assume: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "sts:AssumeRole", Resource: "*"}]}}
      - name: admin
        path: /team/
        trust: {Statement: [{Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:role/dev.eks-access.role"},
          Action: "sts:AssumeRole", Condition: {StringEquals: {"sts:ExternalId": "an-id"}}}]}
