package localaws_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

// crashFolder names the data folder, and makes this binary a server on it.
const crashFolder = "ROLECALL_TEST_CRASH_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashFolder); dir != "" {
		serveUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// serveUntilKilled serves the folder's account and prints address and key.
func serveUntilKilled(dir string) {
	store, err := account.Open(context.Background(), dir)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	accounts, err := account.NewSet(store, []string{accountID}, time.Now())
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	admin, err := accounts.Default().AdminKey()
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	server := httptest.NewServer(localaws.New(localaws.Config{
		Accounts: accounts,
		Now:      time.Now,
		Log:      slog.New(slog.DiscardHandler),
	}))
	fmt.Println(server.URL, admin.AccessKeyID, admin.SecretKey.Reveal())
	select {}
}

// TestKilled: whatever was answered with 200 is there after kill -9, however
// often and whenever that comes.
func TestKilled(t *testing.T) {
	t.Parallel()
	const rounds, writers = 20, 4
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	lost := 0
	for round := range rounds {
		client, kill := startKillable(t, dir)
		for name := range acknowledged {
			if _, err := client.GetRole(t.Context(), &iam.GetRoleInput{RoleName: aws.String(name)}); err != nil {
				lost++
				t.Errorf("round %d: role %s was acknowledged: %v", round, name, err)
			}
		}
		if lost > 0 {
			kill()
			return
		}
		var mu sync.Mutex
		var all sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		for writer := range writers {
			all.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("r%d-%d-%d", round, writer, i)
					if _, err := client.CreateRole(t.Context(), &iam.CreateRoleInput{
						RoleName:                 aws.String(name),
						AssumeRolePolicyDocument: aws.String(trust("")),
					}); err != nil {
						return // killed
					}
					mu.Lock()
					acknowledged[name] = true
					count := len(acknowledged)
					mu.Unlock()
					if count >= (round+1)*10 {
						once.Do(func() { close(enough) })
					}
				}
			})
		}
		<-enough
		kill()
		all.Wait()
	}
	t.Logf("%d acknowledged writes survived %d kills", len(acknowledged), rounds)
}

func startKillable(t *testing.T, dir string) (*iam.Client, func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self)
	child.Env = append(os.Environ(), crashFolder+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() {
		if err := child.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) { // SIGKILL
			t.Error(err)
		}
		_ = child.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) != 3 || fields[0] == "error" {
		kill()
		t.Fatalf("the server said %q: %v", line, err)
	}
	w := &world{t: t, url: fields[0]}
	return w.iamClient(credential.AWS{AccessKeyID: fields[1], SecretKey: credential.NewSecret(fields[2])}), kill
}
