// The AWS SDK for JavaScript v3: identities, a role, web identities, pages and
// refusals.
const assert = require("node:assert");
const { createRequire } = require("node:module");
const need = createRequire(process.env.ROLECALL_CLIENTS_JS + "/package.json");
const { STSClient, GetCallerIdentityCommand, AssumeRoleCommand } = need("@aws-sdk/client-sts");
const iam = need("@aws-sdk/client-iam");
const { fromTokenFile } = need("@aws-sdk/credential-providers");

const admin = { accessKeyId: process.env.ADMIN_ID, secretAccessKey: process.env.ADMIN_SECRET };

async function main() {
  const who = await new STSClient({ credentials: admin }).send(new GetCallerIdentityCommand({}));
  assert.match(who.Arn, /:user\/admin$/);
  const taken = await new STSClient({ credentials: admin }).send(new AssumeRoleCommand({ RoleArn: process.env.ROLECALL_TEST_ROLE, RoleSessionName: "js" }));
  assert.match(taken.AssumedRoleUser.Arn, /:assumed-role\/Taken\/js$/);
  assert.ok(taken.Credentials.Expiration instanceof Date);

  const pod = fromTokenFile({ clientConfig: { region: process.env.AWS_REGION } });
  const it = await new STSClient({ credentials: pod }).send(new GetCallerIdentityCommand({}));
  assert.match(it.Arn, /:assumed-role\/R\/pod$/);
  await assert.rejects(new iam.IAMClient({ credentials: pod }).send(new iam.ListUsersCommand({})), (err) => err.name === "AccessDenied" && /not authorized to perform: iam:ListUsers/.test(err.message));

  const client = new iam.IAMClient({ credentials: admin });
  for (const UserName of ["a", "b", "c"]) {
    await client.send(new iam.CreateUserCommand({ UserName, Path: "/js/" }));
  }
  const names = [];
  let pages = 0;
  for await (const page of iam.paginateListUsers({ client, pageSize: 2 }, { PathPrefix: "/js/" })) {
    pages++;
    names.push(...page.Users.map((user) => user.UserName));
  }
  assert.deepStrictEqual([pages, names], [2, ["a", "b", "c"]]);
  await iam.waitUntilUserExists({ client, maxWaitTime: 5 }, { UserName: "a" });
  await assert.rejects(client.send(new iam.GetUserCommand({ UserName: "nobody" })), (err) => err instanceof iam.NoSuchEntityException);
  const summary = await client.send(new iam.GetAccountSummaryCommand({}));
  assert.strictEqual(summary.SummaryMap.Users, 4);
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
